//! Why connections are closed that did nothing wrong: a label.

/// For what new connection an idle one had to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionClosed {
    /// For one of the same address, which had all that an address may have.
    SameAddress,
    /// For anybody's: all places were taken.
    GatewayFull,
    /// For anybody's to the admin API, whose places were taken.
    AdminFull,
}

impl ConnectionClosed {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::SameAddress, Self::GatewayFull, Self::AdminFull];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameAddress => "same_address",
            Self::GatewayFull => "gateway_full",
            Self::AdminFull => "admin_full",
        }
    }
}
