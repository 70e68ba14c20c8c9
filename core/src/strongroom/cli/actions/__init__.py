"""The work of commands, without click, so that plain calls start fast; `commands` has their click options."""
