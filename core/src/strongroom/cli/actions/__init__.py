"""What commands do, without click, so that plain calls start without it; `commands` has what click sees."""
