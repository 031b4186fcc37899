"""How full model servers and GPU pools are."""
