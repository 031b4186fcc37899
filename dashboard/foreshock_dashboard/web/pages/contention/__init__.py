"""Everything of the Contention page: data, layout, figures."""
