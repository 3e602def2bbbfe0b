"""Published numbers, and whether what is computed here agrees with them."""
