//! Laws of the packet path, on its native build: for every frame, for the tables between frames, and
//! for policies, sweeps and second CPUs that come in between.

mod rig;

mod answers;
mod exhaustion;
mod mangled;
mod policy;
mod translation;
