"""How a person sees it: progress, tables, colours. The only place that draws."""
