"""Everything of the Fleet page: data, layout, figures, one GPU in detail."""
