//! What tests of the packet path stand on, and the twin suite and the fuzz targets with them: frames
//! from words, checksums by full recomputation, a site in plain memory, and the laws that hold for
//! every frame and for the tables between two frames.

pub mod dual;
pub mod interrupted;
pub mod keeper;
pub mod laws;
pub mod laws6;
pub mod model;
pub mod play;
pub mod shelves;
pub mod site;
pub mod sketch;
pub mod sketch6;
pub mod story;
pub mod sums;
pub mod whole;

pub use laws::{Left, sound, take};
pub use site::Site;
pub use sketch::Sketch;
pub use sketch6::Sketch6;
