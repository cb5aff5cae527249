"""The page that `coyo report` draws: evidence read from folders, charts, markup."""
