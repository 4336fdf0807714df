"""The codemod behind `zrun_compat.migrate`; all of it needs the extra `migrate`, except `_places`."""
