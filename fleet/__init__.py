"""The operator's side: registry of releases, what each group runs, sending, watching."""
