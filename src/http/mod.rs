//! What every HTTP listener of ours does alike, on top of what the `http` crate calls things: names a request, reads a
//! credential from its headers, and writes an answer or a problem.
//!
//! It knows nothing of submissions or of operators: `accept` and `admin` never use each other, and both use this.

mod authority;
mod authorization;
mod client_address;
mod problem;
mod request_id;
mod response;

pub use self::authority::without_port;
pub use self::authorization::{basic_password, bearer};
pub use self::client_address::{client_address, is_trusted, subscriber};
pub use self::problem::Problem;
pub use self::request_id::RequestId;
pub use self::response::{expects_continue, json, response, write};
