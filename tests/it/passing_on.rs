//! What a store of a test's own leaves to the one inside it.

/// Passes events, notes and holds on to the field `inner`.
macro_rules! pass_on {
    (all but notes of $store:ty) => {
        #[async_trait::async_trait]
        impl formgate::queue::Outbox for $store {
            async fn register(
                &self,
                reader: &formgate::queue::Key,
            ) -> Result<Option<u64>, formgate::queue::StoreError> {
                self.inner.register(reader).await
            }

            async fn unregister(&self, reader: &formgate::queue::Key) -> Result<bool, formgate::queue::StoreError> {
                self.inner.unregister(reader).await
            }

            async fn readers(&self) -> Result<Vec<formgate::queue::Reader>, formgate::queue::StoreError> {
                self.inner.readers().await
            }

            async fn record_moves(&self, filter: formgate::queue::MoveFilter) -> Result<(), formgate::queue::StoreError> {
                self.inner.record_moves(filter).await
            }

            async fn emit(
                &self,
                emission: &formgate::queue::Emission,
                once: &formgate::queue::Key,
                now: jiff::Timestamp,
            ) -> Result<bool, formgate::queue::StoreError> {
                self.inner.emit(emission, once, now).await
            }

            async fn events(
                &self,
                after: u64,
                limit: usize,
            ) -> Result<formgate::queue::Events, formgate::queue::StoreError> {
                self.inner.events(after, limit).await
            }

            async fn trim(
                &self,
                reader: &formgate::queue::Key,
                upto: u64,
            ) -> Result<bool, formgate::queue::StoreError> {
                self.inner.trim(reader, upto).await
            }
        }

        #[async_trait::async_trait]
        impl formgate::queue::Holds for $store {
            async fn hold(
                &self,
                name: &formgate::queue::Key,
                holder: &formgate::queue::Key,
                ttl: std::time::Duration,
                now: jiff::Timestamp,
            ) -> Result<bool, formgate::queue::StoreError> {
                self.inner.hold(name, holder, ttl, now).await
            }

            async fn release(
                &self,
                name: &formgate::queue::Key,
                holder: &formgate::queue::Key,
            ) -> Result<bool, formgate::queue::StoreError> {
                self.inner.release(name, holder).await
            }
        }
    };
    ($store:ty) => {
        $crate::passing_on::pass_on!(all but notes of $store);

        #[async_trait::async_trait]
        impl formgate::queue::Notes for $store {
            async fn note(
                &self,
                change: &formgate::queue::NoteChange,
                now: jiff::Timestamp,
            ) -> Result<(), formgate::queue::StoreError> {
                self.inner.note(change, now).await
            }

            async fn note_all(
                &self,
                changes: &[(formgate::queue::NoteChange, jiff::Timestamp)],
            ) -> Result<(), formgate::queue::StoreError> {
                self.inner.note_all(changes).await
            }

            async fn notes(
                &self,
                kind: formgate::queue::NoteKind,
                prefix: &str,
                after: Option<&formgate::queue::Key>,
                limit: usize,
            ) -> Result<Vec<formgate::queue::Note>, formgate::queue::StoreError> {
                self.inner.notes(kind, prefix, after, limit).await
            }
        }
    };
}

pub(crate) use pass_on;
