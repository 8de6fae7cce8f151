//! Laws over the catalogue.
