//! The laws, by what they read.

pub mod architecture;
pub mod packages;
pub mod sources;
pub mod vendors;

use super::Law;

/// Every law.
pub const ALL: [Law; 11] = [
    sources::every_file_says_what_it_is_for,
    sources::files_are_short,
    sources::no_promises,
    sources::comments_are_plain_english,
    sources::metric_names_live_in_the_catalogue,
    sources::unsafe_lives_in_its_rooms,
    sources::pure_crates_do_no_io,
    packages::every_crate_inherits_the_lints,
    packages::vendor_libraries_serve_no_http,
    architecture::dependencies_are_those_of_the_table,
    vendors::vendors_are_named_in_the_listed_files,
];
