"""Programs that keep the template up to date; docs/maintaining.md describes them."""
