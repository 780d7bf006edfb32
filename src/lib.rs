pub mod received;

pub mod lead;

pub mod queue;

pub mod kaicalls;

pub mod sandbox;
