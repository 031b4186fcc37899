"""Everything of the Status page: data and layout."""
