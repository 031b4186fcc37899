"""Everything of the Services pages: data, layout, sentence."""
