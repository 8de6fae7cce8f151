//! The exporter over sources that do what a test tells them.
