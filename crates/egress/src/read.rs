//! A tunnel that is read: TLS ended on both sides, one request put through with the secrets that it names.

use crate::attempt::Way;
use crate::flow::{Flow, together};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::request::{self, Plain};
use crate::secret::{Injector, Mask, Terminate};
use crate::target::Target;
use crate::visit::{BUFFER_BYTES, fits, read_head};
use crate::{answer, body};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The client of a tunnel, from its first byte on, which was read already.
pub(crate) struct Client<'a, S> {
    first: io::Cursor<Vec<u8>>,
    reader: &'a mut BufReader<ReadHalf<S>>,
    writer: &'a mut WriteHalf<S>,
}

impl<'a, S> Client<'a, S> {
    pub(crate) fn new(
        first: Vec<u8>,
        reader: &'a mut BufReader<ReadHalf<S>>,
        writer: &'a mut WriteHalf<S>,
    ) -> Self {
        Self { first: io::Cursor::new(first), reader, writer }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> AsyncRead for Client<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match Pin::new(&mut self.first).poll_read(ctx, into) {
            Poll::Ready(Ok(())) if into.filled().len() == before => {
                Pin::new(&mut *self.reader).poll_read(ctx, into)
            }
            first => first,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> AsyncWrite for Client<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.writer).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.writer).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.writer).poll_shutdown(ctx)
    }
}

/// What reads a tunnel to one target.
pub(crate) struct Reading<'a> {
    pub(crate) target: &'a Target,
    pub(crate) injector: Injector<'a>,
    pub(crate) terminate: &'a dyn Terminate,
    pub(crate) flow: &'a Flow<'a>,
    pub(crate) limits: &'a Limits,
}

impl Reading<'_> {
    /// Puts one request through, and its answer. What goes wrong before an answer has begun is told to the client, inside of its TLS.
    pub(crate) async fn read<S: AsyncRead + AsyncWrite + Send + Unpin>(
        &self,
        client: Client<'_, S>,
        server: TcpStream,
    ) -> Result<(), Refusal> {
        let accepted =
            timeout(self.limits.head_time, self.terminate.accept(&self.target.name, Box::new(client)));
        let client = accepted.await.map_err(|_| Refusal::SlowHello(self.target.clone()))?;
        let client = client.map_err(|why| Refusal::Client(self.target.clone(), why))?;
        let (reader, mut writer) = tokio::io::split(client);
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        let mut begun = false;
        let end = self.request(&mut reader, &mut writer, server, &mut begun).await;
        if let Err(refusal) = &end
            && !begun
            && !matches!(refusal, Refusal::Left)
        {
            // Whether the client hears it is its own affair.
            let told = async {
                writer.write_all(&answer::http(refusal)).await?;
                writer.shutdown().await
            };
            drop(timeout(self.limits.head_time, told).await);
        }
        end
    }

    async fn request(
        &self,
        reader: &mut BufReader<impl AsyncRead + Unpin>,
        writer: &mut (impl AsyncWrite + Unpin),
        server: TcpStream,
        begun: &mut bool,
    ) -> Result<(), Refusal> {
        let mut head = Vec::new();
        read_head(reader, self.limits.head_time, &mut head).await?;
        let fill = |name: &str, value: &[u8]| self.injector.inject(name, value);
        let Plain { head, body, expects_continue, .. } = {
            let plain = request::parse_within(&head, self.target, &fill)?;
            fits(&plain, self.flow, self.limits)?;
            plain
        };
        let connected =
            timeout(self.limits.connect_time, self.terminate.connect(&self.target.name, Box::new(server)));
        let server = connected.await.map_err(|_| Refusal::SlowServer(self.target.clone()))?;
        let server = server.map_err(|why| Refusal::Server(self.target.clone(), why))?;
        let (from_server, mut to_server) = tokio::io::split(server);
        let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
        if expects_continue {
            self.flow
                .wait(async {
                    writer.write_all(answer::CONTINUE).await?;
                    writer.flush().await
                })
                .await?;
        }
        self.flow.send(&mut to_server, Way::Up, &head).await?;
        let up = async {
            body::pass(body, reader, &mut to_server, self.flow).await?;
            self.flow.wait(to_server.flush()).await
        };
        let down = async {
            let first = self.flow.wait(from_server.fill_buf()).await?;
            if first.is_empty() {
                return Err(Refusal::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            *begun = true;
            self.answer(&mut from_server, writer, self.injector.mask()).await
        };
        together(up, down, false).await
    }

    // Passes an answer on, with asterisks over what was put in.
    async fn answer(
        &self,
        from: &mut BufReader<impl AsyncRead + Unpin>,
        to: &mut (impl AsyncWrite + Unpin),
        mut mask: Mask,
    ) -> Result<(), Refusal> {
        loop {
            let more = self.flow.wait(from.fill_buf()).await;
            let (bytes, ends) = match &more {
                Ok([]) | Err(_) => (mask.end(), true),
                Ok(bytes) => (mask.pass(bytes), false),
            };
            let count = more.as_ref().map_or(0, |bytes| bytes.len());
            let failed = more.err();
            from.consume(count);
            self.flow.send(to, Way::Down, &bytes).await?;
            self.flow.wait(to.flush()).await?;
            match (ends, failed) {
                (false, _) => {}
                // A server that does not say that its answer ends may have been cut off: nor does the client hear that it ends.
                (true, Some(refusal)) => return Err(refusal),
                (true, None) => return self.flow.wait(to.shutdown()).await,
            }
        }
    }
}
