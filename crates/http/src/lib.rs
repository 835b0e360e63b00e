#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod peer;

pub use crate::peer::PeerAddr;
