//! A peer that sends rubbish.
