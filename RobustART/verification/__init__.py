"""Published numbers, and checks of results against them."""
