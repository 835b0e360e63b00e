//! The admin listener of the real program: its numbers are those that clients saw, and it lets in whom it should.

mod counting;
mod manners;
mod program;
mod stopping;
