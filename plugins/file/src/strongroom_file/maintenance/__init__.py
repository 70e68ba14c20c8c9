"""Operations on a whole store: create, back up, migrate, rekey, verify."""
