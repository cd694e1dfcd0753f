//! TLS ended on both sides of the proxy: below an authority of our own for the sandbox, and checked against the machine's for the server.

use egress::secret::{Ended, Stream, Terminate};
use egress::target::Name;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The only protocol spoken inside: what is read here is HTTP/1.1 (RFC 7301 §6).
const PROTOCOL: &[u8] = b"http/1.1";

/// An authority that sandboxes with secrets trust, made anew with each service. It has no `Debug`: its key is in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate, PEM (RFC 7468).
    pub certificate: String,
    /// Its key, PKCS #8 (RFC 5958).
    key: Vec<u8>,
}

/// Why there is no authority, or nobody who ends TLS.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A certificate could not be made.
    #[error("make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Certificates that are none.
    #[error("read certificates: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// TLS that cannot be set up.
    #[error("set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Nobody to check servers by.
    #[error("this machine trusts no certificates: install ca-certificates, or set egress.ca")]
    NoRoots,
}

impl Authority {
    /// A new one, with a key on P-256.
    ///
    /// # Errors
    /// None but a kernel without random bytes.
    pub fn new() -> Result<Self, Unusable> {
        let key = KeyPair::generate()?;
        let certificate = params_of_authority().self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_der() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Unusable> {
        Ok(Issuer::new(params_of_authority(), KeyPair::try_from(self.key.as_slice())?))
    }
}

fn params_of_authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "fireclay egress, for hosts with secrets");
    params
}

/// A client of servers that are checked by what the machine trusts.
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// One that trusts these certificates (PEM, perhaps none) as well.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(more_roots: &str) -> Result<Self, Unusable> {
        let mut roots = RootCertStore::empty();
        // One that cannot be read is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(more_roots.as_bytes()) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(Unusable::NoRoots);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// TLS with the server of this name, a host or an address.
    ///
    /// # Errors
    /// What the connection fails with, and a certificate that is not good for the name.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        name: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

/// Ends TLS for the hosts that secrets of one sandbox are for.
pub struct Terminator {
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    to_servers: Client,
}

impl Terminator {
    /// One below this authority, that checks servers by what the machine trusts and by these certificates (PEM, perhaps empty) as well.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(authority: &Authority, more_roots: &str) -> Result<Self, Unusable> {
        let certificate = CertificateDer::from_pem_slice(authority.certificate.as_bytes())?;
        Ok(Self { issuer: authority.issuer()?, authority: certificate, to_servers: Client::new(more_roots)? })
    }

    fn as_server(&self, name: &Name) -> Result<TlsAcceptor, Unusable> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_string()])?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name.push(DnType::CommonName, "fireclay egress");
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.authority.clone()];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Terminate for Terminator {
    fn accept<'a>(&'a self, name: &'a Name, client: Box<dyn Stream + 'a>) -> Ended<'a> {
        Box::pin(async move {
            let acceptor = self.as_server(name).map_err(io::Error::other)?;
            let ended: Box<dyn Stream + 'a> = Box::new(acceptor.accept(client).await?);
            Ok(ended)
        })
    }

    fn connect<'a>(&'a self, name: &'a Name, server: Box<dyn Stream + 'a>) -> Ended<'a> {
        Box::pin(async move {
            let ended: Box<dyn Stream + 'a> = Box::new(self.to_servers.connect(name.as_str(), server).await?);
            Ok(ended)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    // A client and a server below two authorities, as two `Terminator`s play them.
    async fn meet(name: &str, client: &Terminator, server: &Terminator) -> io::Result<String> {
        let (near, far) = duplex(1 << 16);
        let named = Name::parse(b"a.test").unwrap();
        let asked = Name::parse(name.as_bytes()).unwrap();
        let serve = async {
            let mut stream = server.accept(&named, Box::new(far)).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        };
        let ask = async {
            let mut stream = client.connect(&asked, Box::new(near)).await?;
            let mut said = String::new();
            stream.read_to_string(&mut said).await?;
            Ok(said)
        };
        let (served, said) = tokio::join!(serve, ask);
        drop(served);
        said
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_is_believed_below_its_authority_and_by_its_name_only() {
        let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let server = Terminator::new(&ours, &ours.certificate).unwrap();
        let trusting = Terminator::new(&other, &ours.certificate).unwrap();
        let strange = Terminator::new(&other, &other.certificate).unwrap();
        assert_eq!(meet("a.test", &trusting, &server).await.unwrap(), "hello");
        let unknown = meet("a.test", &strange, &server).await.unwrap_err().to_string();
        assert!(unknown.contains("invalid peer certificate"), "{unknown}");
        let misnamed = meet("b.test", &trusting, &server).await.unwrap_err().to_string();
        assert!(misnamed.contains("not valid for name"), "{misnamed}");
    }
}
