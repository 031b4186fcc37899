"""The skeletons of the pages; scripts in assets/ fill them."""
