//! The bytes of a server as they arrive: below TLS, where there is TLS.
//!
//! TLS has messages without content, such as session tickets and new keys. A server can send
//! them at any time and in any number, and the TLS library reads on until there is content.
//! So the stream ends its turn on the event loop after [`TURN`] bytes, whatever they are, and a
//! server that sends much besides content loses its connection.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::refusal::Refusal;

/// The bytes after which other tasks have a turn.
const TURN: usize = 16 * 1024;

/// The bytes that a server has sent besides content.
#[derive(Debug, Default)]
pub(super) struct Surplus(AtomicU64);

impl Surplus {
    /// The most. A handshake has a few messages of at most 64 KiB each.
    pub(super) const MOST: u64 = 256 * 1024;

    /// The bytes that one byte of content allows for: a record of TLS with one byte of content has
    /// no more.
    const OF_CONTENT: u64 = 32;

    /// Takes in bytes of the server, of which nobody knows yet what they are. Returns whether they
    /// still fit.
    fn add(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= Self::MOST
    }

    /// Takes in content. None of it is kept for later.
    pub(super) fn take_content(&self, bytes: usize) {
        let allowed = (bytes as u64).saturating_mul(Self::OF_CONTENT);
        let less = |sum: u64| Some(sum.saturating_sub(allowed));
        // It returns an error only for `None`.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// A stream whose bytes are counted, and read in turns.
pub(super) struct Wire<S> {
    inner: S,
    surplus: Arc<Surplus>,
    /// How many bytes have been read in this turn.
    spent: usize,
}

impl<S> Wire<S> {
    pub(super) fn new(inner: S, surplus: Arc<Surplus>) -> Self {
        Self {
            inner,
            surplus,
            spent: 0,
        }
    }
}

/// Where there is no TLS.
impl<S> TlsStream for Wire<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S> AsyncRead for Wire<S>
where
    S: AsyncRead + Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.spent >= TURN {
            this.spent = 0;
            // It wakes this task after the sockets of the others have been looked at. A task that
            // wakes itself keeps the event loop from that for 61 turns.
            ready!(pin!(yield_now()).poll(context));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, buffer);
        let new = buffer.filled().len() - before;
        this.spent = if read.is_pending() {
            0
        } else {
            this.spent + new
        };
        ready!(read)?;
        Poll::Ready(if this.surplus.add(new) {
            Ok(())
        } else {
            Err(io::Error::other(Refusal::NoContent))
        })
    }
}

impl<S> AsyncWrite for Wire<S>
where
    S: AsyncWrite + Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Bytes without content are read in turns, and up to a limit.
    #[tokio::test]
    async fn s29_what_is_no_content_is_read_in_turns_and_not_for_ever() {
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let most = usize::try_from(Surplus::MOST).unwrap_or_default();
        server.write_all(&vec![0; most + 1]).await.ok();
        let mut wire = Wire::new(client, Arc::default());
        let (mut turns, mut read, mut piece) = (0, 0, [0; 4096]);
        let error = loop {
            let mut piece = ReadBuf::new(&mut piece);
            let one = std::future::poll_fn(|context| {
                turns += 1;
                Pin::new(&mut wire).poll_read(context, &mut piece)
            });
            match one.await {
                Ok(()) => read += piece.filled().len(),
                Err(error) => break error,
            }
        };
        assert_eq!(read, most);
        // A read of 4 KiB each, the last one, and one turn for each 16 KiB.
        assert_eq!(turns, most / 4096 + 1 + most / TURN);
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        assert_eq!(cause, Some(&Refusal::NoContent));
    }

    /// A record with one byte of content is no surplus, and content allows for nothing later.
    #[tokio::test]
    async fn s29_content_is_read_for_ever_in_records_of_any_length() -> io::Result<()> {
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let surplus = Arc::new(Surplus::default());
        let mut wire = Wire::new(client, Arc::clone(&surplus));
        let mut record = [0; 30];
        for _ in 0..100_000 {
            server.write_all(&record).await?;
            wire.read_exact(&mut record).await?;
            surplus.take_content(1);
        }
        surplus.take_content(1 << 30);
        let most = usize::try_from(Surplus::MOST).unwrap_or_default();
        server.write_all(&vec![0; most + 1]).await?;
        let mut all = vec![0; most + 1];
        assert!(wire.read_exact(&mut all).await.is_err());
        Ok(())
    }
}
