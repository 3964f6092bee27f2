"""Global Knowledge: prototypes that both spaces share, and what is distilled by them."""
