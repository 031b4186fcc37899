"""Everything of the Traces page: data, layout, figures."""
