//! Seeds that found something.

