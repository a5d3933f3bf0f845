//! Worse deliveries and other cuts.
