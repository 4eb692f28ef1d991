//! A store for yroom.
