"""An experiment: its settings, its steps and the order between them."""
