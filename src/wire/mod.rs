//! The y-protocols messages, read and written over byte buffers.
pub mod varint;
