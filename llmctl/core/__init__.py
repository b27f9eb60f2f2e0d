"""The package that all commands stand on; it knows neither flags nor colours."""
