"""How much work the annotators have with what is served, and what it costs them."""
