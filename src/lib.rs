pub mod received;

pub mod lead;

pub mod queue;
