//! Questions to a schema registry over HTTP.
//!
//! | API | schema | what it refers to |
//! |---|---|---|
//! | Confluent | `schemas/ids/{id}`, `schemas/guids/{guid}` | `subjects/{subject}/versions/{version}` |
//! | Apicurio 2 | `apis/registry/v2/ids/globalIds/{id}`, `…/contentIds/{id}`, type by `…/search/artifacts` | `…/references`, `…/groups/{group}/artifacts/{id}/versions/{version}` |
//!
//! Source: the documentation of both, and Apicurio 2.6.13 as it answers.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::checked::{RegistryAuth, RegistryConfig, SchemaIds};
use crate::core::event::Rejection;
use crate::core::failure::{Class, Failure};
use crate::core::framing::{Definition, Language, SchemaId};

/// Longest answer.
const ANSWER_BYTES: usize = 16 << 20;
/// Most schemas that one refers to, directly or not.
const REFERENCES: usize = 200;

/// Why there is no schema.
#[derive(Debug)]
pub(super) enum Fault {
    /// The registry says that it has none, or one that cannot be used: the record's fault.
    Refused(Rejection),
    /// The registry says nothing: try again.
    Unavailable(Failure),
}

impl From<Rejection> for Fault {
    fn from(why: Rejection) -> Self {
        Self::Refused(why)
    }
}

/// An answer to a question.
enum Answer {
    /// What was asked for.
    Found(Vec<u8>),
    /// The registry has no such thing.
    Missing,
}

/// A client of one or several URLs of the same registry.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    urls: Vec<Url>,
    ids: Option<SchemaIds>,
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
    #[serde(default, rename = "schemaType")]
    language: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

/// A reference as the Confluent API writes it.
#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: serde_json::Number,
}

/// A reference as Apicurio's own API writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactReference {
    name: String,
    group_id: Option<String>,
    artifact_id: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(rename = "type")]
    language: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    error_code: u32,
    name: String,
}

impl Http {
    /// Prepares a client. Nothing is asked yet.
    pub(super) fn new(config: &RegistryConfig) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        let accepted = "application/vnd.schemaregistry.v1+json, application/json, */*";
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        let authorization = match &config.auth {
            RegistryAuth::None => None,
            RegistryAuth::Basic { user, password } => {
                Some(format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose()))))
            }
            RegistryAuth::Bearer(token) => Some(format!("Bearer {}", token.expose())),
        };
        if let Some(text) = authorization {
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| broken("the token under [registry] holds characters that a header cannot".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config)?)
            .default_headers(headers)
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self { client, urls: config.urls.clone(), ids: config.ids })
    }

    /// Asks for something that every registry knows.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        match self.json::<Vec<String>>(Api::Configured, &["schemas", "types"]).await {
            Ok(_) => Ok(()),
            Err(Fault::Unavailable(failure)) => Err(failure),
            Err(Fault::Refused(why)) => Err(Failure::operator("registry", why.to_string())),
        }
    }

    /// The schema of an id, with everything that it refers to.
    pub(super) async fn schema(&self, id: &SchemaId) -> Result<Definition, Fault> {
        let kind = match id {
            SchemaId::Short(_) => self.ids.unwrap_or(SchemaIds::Schema),
            SchemaId::Long(_) => self.ids.unwrap_or(SchemaIds::Global),
            SchemaId::Guid(_) => SchemaIds::Schema,
            SchemaId::Global(_) => SchemaIds::Global,
            SchemaId::Content(_) => SchemaIds::Content,
        };
        match kind {
            SchemaIds::Schema => self.confluent(id).await,
            SchemaIds::Global => self.apicurio("globalId", id).await,
            SchemaIds::Content => self.apicurio("contentId", id).await,
        }
    }

    async fn confluent(&self, id: &SchemaId) -> Result<Definition, Fault> {
        let kind = if matches!(id, SchemaId::Guid(_)) { "guids" } else { "ids" };
        let schema: Option<Schema> = self.json(Api::Configured, &["schemas", kind, &id.to_string()]).await?;
        let schema = schema.ok_or_else(|| unknown(id))?;
        let language = language(schema.language.as_deref().unwrap_or("AVRO"))?;
        let mut definition = Definition { language, text: schema.schema, references: Vec::new() };
        // Depth first: what is entered is taken up again when all that it refers to is there.
        let mut met = HashSet::new();
        let mut open: Vec<Step> = steps(schema.references);
        while let Some(step) = open.pop() {
            let reference = match step {
                Step::Done(name, text) => {
                    definition.references.push((name, text));
                    continue;
                }
                Step::Enter(reference) => reference,
            };
            let version = reference.version.to_string();
            if !met.insert((reference.subject.clone(), version.clone())) {
                continue;
            }
            check_count(met.len())?;
            let path = ["subjects", &reference.subject, "versions", &version];
            let Some(schema) = self.json::<Schema>(Api::Configured, &path).await? else {
                return Err(missing_reference(&reference.name).into());
            };
            open.push(Step::Done(reference.name, schema.schema));
            open.extend(steps(schema.references));
        }
        Ok(definition)
    }

    async fn apicurio(&self, kind: &str, id: &SchemaId) -> Result<Definition, Fault> {
        let ids = ["ids", &format!("{kind}s"), &id.to_string()];
        let text = self.text(&ids).await?.ok_or_else(|| unknown(id))?;
        let query = format!("{kind}={id}");
        let found: Option<Found> = self.json(Api::Apicurio(Some(&query)), &["search", "artifacts"]).await?;
        let artifact = found.and_then(|found| found.artifacts.into_iter().next()).ok_or_else(|| unknown(id))?;
        let mut definition = Definition { language: language(&artifact.language)?, text, references: Vec::new() };
        let mut open: Vec<(bool, String, Vec<String>)> = self.artifact_references(&ids).await?;
        let mut met = HashSet::new();
        while let Some((done, name, path)) = open.pop() {
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            if done {
                let text = self.text(&segments).await?.ok_or_else(|| missing_reference(&name))?;
                definition.references.push((name, text));
            } else if met.insert(path.clone()) {
                check_count(met.len())?;
                let more = self.artifact_references(&segments).await?;
                open.push((true, name, path));
                open.extend(more);
            }
        }
        Ok(definition)
    }

    /// What an artifact of Apicurio refers to: not done yet, its name, its path.
    async fn artifact_references(&self, path: &[&str]) -> Result<Vec<(bool, String, Vec<String>)>, Fault> {
        let path: Vec<&str> = path.iter().copied().chain(["references"]).collect();
        let found: Option<Vec<ArtifactReference>> = self.json(Api::Apicurio(None), &path).await?;
        let path_of = |reference: ArtifactReference| {
            let group = reference.group_id.unwrap_or_else(|| "default".to_owned());
            let parts = ["groups", &group, "artifacts", &reference.artifact_id].map(str::to_owned);
            let version = reference.version.map(|version| ["versions".to_owned(), version]);
            (false, reference.name, parts.into_iter().chain(version.into_iter().flatten()).collect())
        };
        Ok(found.unwrap_or_default().into_iter().map(path_of).collect())
    }

    async fn text(&self, path: &[&str]) -> Result<Option<String>, Fault> {
        match self.ask(Api::Apicurio(None), path).await? {
            Answer::Missing => Ok(None),
            Answer::Found(bytes) => {
                let text = String::from_utf8(bytes);
                text.map(Some).map_err(|_| unusable("a schema of the registry is not UTF-8").into())
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, api: Api<'_>, path: &[&str]) -> Result<Option<T>, Fault> {
        match self.ask(api, path).await? {
            Answer::Missing => Ok(None),
            Answer::Found(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let what =
                    format!("an answer of the registry is not what its API says ({error}); check `url` in [registry]");
                Fault::Unavailable(Failure::operator("registry_answer", what))
            }),
        }
    }

    /// Asks the URLs in turn, until one knows.
    async fn ask(&self, api: Api<'_>, path: &[&str]) -> Result<Answer, Fault> {
        let mut last = None;
        for base in &self.urls {
            match self.ask_one(api.url(base, path)).await {
                Err(Fault::Unavailable(failure)) => last = Some(failure),
                settled => return settled,
            }
        }
        Err(Fault::Unavailable(last.unwrap_or_else(|| broken("[registry] names no URL".to_owned()))))
    }

    async fn ask_one(&self, url: Url) -> Result<Answer, Fault> {
        let transient = |what: String| Fault::Unavailable(Failure::new(Class::Transient, "registry", what));
        let shown = url.to_string();
        let response = self.client.get(url).send().await;
        let response =
            response.map_err(|error| transient(format!("the schema registry does not answer: {}", causes(&error))))?;
        let status = response.status();
        let bytes = body(response).await.map_err(|error| match error {
            Some(error) => transient(format!("the schema registry's answer broke off: {}", causes(&error))),
            None => unusable(&format!("a schema of the registry is longer than {} MiB", ANSWER_BYTES >> 20)).into(),
        })?;
        if status.is_success() {
            return Ok(Answer::Found(bytes));
        }
        let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
        let operator = |what: &str| {
            Fault::Unavailable(Failure::operator(
                "registry",
                format!("the schema registry {what} (HTTP {status}, {shown})"),
            ))
        };
        match status {
            // Only the registry's own words count: a proxy, or a wrong path, says 404 as well.
            StatusCode::NOT_FOUND
                if (40400..40500).contains(&problem.error_code)
                    || ["ArtifactNotFoundException", "ContentNotFoundException", "VersionNotFoundException"]
                        .contains(&problem.name.as_str()) =>
            {
                Ok(Answer::Missing)
            }
            StatusCode::NOT_FOUND => Err(operator("has no such path; check `url` in [registry]")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(operator("refuses this client; check `user`, `password` or `token` in [registry]"))
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(transient(format!("the schema registry has trouble (HTTP {status})")))
            }
            _ => Err(operator("does not answer as its API says")),
        }
    }
}

/// Whose API is asked.
#[derive(Clone, Copy)]
enum Api<'a> {
    /// The one that the configured URLs lead to.
    Configured,
    /// Apicurio's own, beside it, perhaps with a query.
    Apicurio(Option<&'a str>),
}

impl Api<'_> {
    fn url(self, base: &Url, path: &[&str]) -> Url {
        let mut url = base.clone();
        if matches!(self, Self::Apicurio(_))
            && let Some(at) = base.path().find("/apis/")
        {
            url.set_path(&base.path()[..at]);
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if matches!(self, Self::Apicurio(_)) {
                segments.extend(["apis", "registry", "v2"]);
            }
            segments.extend(path);
        }
        if let Self::Apicurio(query) = self {
            url.set_query(query);
        }
        url
    }
}

/// A reference that is to be looked up, or one that is there and whose own references come before it.
enum Step {
    Enter(Reference),
    Done(String, String),
}

fn steps(references: Option<Vec<Reference>>) -> Vec<Step> {
    references.unwrap_or_default().into_iter().map(Step::Enter).collect()
}

/// The body of an answer; `None` as error if it is too long.
async fn body(mut response: Response) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES {
            return Err(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// An error with its causes, and without its URL.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.source().is_none() || text.is_empty() {
            let said = error.to_string();
            let said = said.split(" for url (").next().unwrap_or_default().to_owned();
            text = if text.is_empty() { said } else { format!("{text}: {said}") };
        }
        cause = error.source();
    }
    text
}

fn check_count(count: usize) -> Result<(), Fault> {
    if count > REFERENCES {
        return Err(unusable(&format!("the schema refers to more than {REFERENCES} others")).into());
    }
    Ok(())
}

fn language(name: &str) -> Result<Language, Rejection> {
    Language::named(name).ok_or_else(|| unusable(&format!("the schema is written in {name:?}, which is not known")))
}

fn unknown(id: &SchemaId) -> Rejection {
    Rejection::new("unknown_schema", format!("the schema registry has no schema with id {id}"))
}

fn missing_reference(name: &str) -> Rejection {
    Rejection::new("unknown_schema", format!("the schema registry lacks {name:?}, which the record's schema refers to"))
}

fn unusable(what: &str) -> Rejection {
    Rejection::new("unsupported_schema", what)
}

fn broken(reason: String) -> Failure {
    Failure::operator("registry", format!("the client of the schema registry cannot be set up: {reason}"))
}

fn tls(config: &RegistryConfig) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(path) => {
            let unreadable =
                |reason: String| broken(format!("ca_file {} holds no PEM certificates: {reason}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None if config.urls.iter().any(|url| url.scheme() == "https") => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &config.certificate else { return Ok(builder.with_no_client_auth()) };
    let unreadable = |reason: String| {
        broken(format!("cert_file {} and key_file {}: {reason}", certificate.display(), key.display()))
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(|error| unreadable(error.to_string()))?.collect();
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(error.to_string()))?;
    let chain = chain.map_err(|error| unreadable(error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unreadable(error.to_string()))
}
