"""The composition root: opens everything in order and closes it backwards. The only importer of concrete backends."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import numpy as np
import structlog

from router.corpus.base import CorpusObserver, CorpusService
from router.corpus.graph_builder import NameGraphBuilder
from router.corpus.openie import FactExtractor
from router.corpus.pictures import CorpusPictures, FileVectors
from router.corpus.service import Corpus
from router.correction.base import Remedy
from router.correction.corrector import Corrector
from router.correction.judge import EvidenceJudge
from router.correction.sub_questions import SubQuestions
from router.correction.widen import Widen
from router.engine import Engine
from router.errors import ConfigurationError, ModelUnavailable, StoreUnavailable
from router.filtering.registry import open_output_filters, open_query_filters
from router.gathering import Gatherer, Source
from router.generation.base import Generator
from router.generation.extractive import ExtractiveGenerator
from router.generation.llm import LLMGenerator
from router.generation.pictures import PicturesToShow
from router.models.aligned import NAME as ALIGNED
from router.models.base import Embedder, LanguageModel
from router.models.cross_encoder import open_cross_encoder
from router.models.embedding import open_embedder
from router.models.entities import SpacyRecogniser
from router.models.language import open_language_model
from router.models.minilm import NAME as MINILM
from router.models.sounds import load_sound
from router.models.spaces import EmbeddingSpace, open_sound_space, open_space
from router.ranking.base import Fusion, Reranker
from router.ranking.cross_encoder import CrossEncoderReranker
from router.ranking.diversity import Diversity
from router.ranking.learned import LearnedReranker
from router.ranking.symmetric import ReciprocalRankFusion, WeightedFusion
from router.ranking.walk import WalkFusion
from router.retrieval.base import Retriever
from router.retrieval.follow_up import FollowUps
from router.retrieval.graph import GraphRetriever
from router.retrieval.illustrations import Illustrations
from router.retrieval.linker import NameLinker
from router.retrieval.overview import OverviewRetriever
from router.retrieval.picture_uri import PictureAddresses
from router.retrieval.pictures import PictureSearch, QueryPictures
from router.retrieval.probe import Prober
from router.retrieval.reading import Reader
from router.retrieval.relation_paths import RelationPaths
from router.retrieval.summaries import CommunitySummaries
from router.retrieval.summary import SummaryWriter
from router.retrieval.text2cypher import CypherWriter, GraphWithCypher
from router.retrieval.vector import VectorRetriever
from router.retrieval.web import open_web_source
from router.retrieval.word_vectors import WordVectors
from router.routing.bandit import BanditPolicy
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.chain import PolicyChain
from router.routing.decider import Decider
from router.routing.experience import LoggedExperience
from router.routing.experiment import Arm, Experiment
from router.routing.features import features
from router.routing.latency import Latencies
from router.routing.registry import named_policy, open_policies
from router.routing.shadow import Shadows
from router.routing.versions import PolicyVersions
from router.settings import GraphSource, OpenAILLM, Settings, SourceSettings, VectorSource, WebSource
from router.stores.base import LexicalIndex
from router.stores.decision_log import DecisionLog
from router.stores.fingerprints import NearDuplicates
from router.stores.graph import BoltGraphStore, GraphMonitor, open_graph_store
from router.stores.journal import Journal, open_journal
from router.stores.lexical import MemoryLexicalIndex
from router.stores.milvus import MilvusLexicalIndex, MilvusVectorStore
from router.stores.mirror import GraphMirror
from router.stores.pictures import FolderPictureStore, PictureStore
from router.stores.vectors import PassageVectors

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Component:
    """Something that can be up or down.

    `check` raises a RouterError whose message says what is wrong and what to do; it returns a line that says what is there.
    `source` names the source that cannot serve without it (empty: the whole service).
    """

    name: str
    check: Callable[[], Awaitable[str]]
    source: str = ""


@dataclass(frozen=True, slots=True)
class App:
    settings: Settings
    engine: Engine
    corpus: CorpusService
    components: tuple[Component, ...]
    policy_descriptions: Mapping[str, str]
    """Every available policy with one sentence."""
    decisions: DecisionLog
    """What calls decided, and the feedback on it."""
    embedder: Embedder
    """The one space of corpus, questions and policies."""
    language_model: LanguageModel | None


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open the journal, the models, the stores, then what stands on them; close them backwards, also after half an opening.

    Raises:
        ConfigurationError: A setting that a backend does not support, or weights that are not the expected ones.
        Conflict: The data folder is in use, or was made with other settings.
        RouterError: A part that must be there cannot be opened.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        yield await _Assembly(settings, stack).app()


class _Assembly:
    """Wires the parts together, one method per room."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._components: list[Component] = []

    async def app(self) -> App:
        await self._open_models()
        await self._open_stores()
        corpus = await self._open_corpus()
        linker = NameLinker(self._mirror)
        self._picture_search = PictureSearch(self._picture_vectors_store, self._picture_vectors, self._passage_vectors)
        pictures = await self._query_pictures(linker)
        sources = [await self._open_source(name, source, linker) for name, source in self._settings.sources.items()]
        self._versions = PolicyVersions(self._settings.data_dir)
        opened = open_policies(self._settings.routing, self._llm, self._versions, self._experience())
        decisions, latencies, prober = await self._open_decision_log(), Latencies(), self._prober(linker, pictures)
        engine = Engine(
            follow_ups=FollowUps(self._llm),
            prober=prober,
            decider=self._decider(sources, {name: policy for name, (policy, _) in opened.items()}, latencies),
            gatherer=await self._gatherer(sources, prober, latencies),
            reader=self._reader(),
            generator=self._generator(),
            generation_reserve_s=self._settings.retrieval.generation_reserve_s,
            query_filters=await open_query_filters(self._settings.filters, self._embedder),
            output_filters=await open_output_filters(self._settings.filters, self._embedder),
            observer=decisions,
        )
        return App(
            settings=self._settings,
            engine=engine,
            corpus=corpus,
            components=tuple(self._components),
            policy_descriptions={name: description for name, (_, description) in opened.items()},
            decisions=decisions,
            embedder=self._embedder,
            language_model=self._llm,
        )

    def _decider(self, sources: Sequence[Source], policies: Mapping[str, RoutingPolicy], latencies: Latencies) -> Decider:
        chain = self._chain(policies)
        return Decider(
            [source.profile for source in sources],
            policies,
            PolicyChain(chain),
            latencies,
            self._experiment(policies, chain),
            self._shadows(policies),
        )

    async def _gatherer(self, sources: Sequence[Source], prober: Prober, latencies: Latencies) -> Gatherer:
        return Gatherer(
            sources=sources,
            prober=prober,
            fusions=self._fusions(),
            default_fusion=self._settings.fusion.method,
            reranker=await self._open_reranker(),
            corrector=self._corrector(),
            diversity=Diversity(self._passage_vectors, self._settings.retrieval.diversity, self._near_duplicates),
            settings=self._settings.retrieval,
            latencies=latencies,
            illustrations=Illustrations(self._picture_store, self._journal),
        )

    def _experience(self) -> LoggedExperience | None:
        if not self._settings.learning.log_questions:
            return None
        kinds = {name: source.kind for name, source in self._settings.sources.items()}
        experience = LoggedExperience(self._journal.decisions, self._embedder, kinds)
        self._stack.push_async_callback(experience.aclose)
        return experience

    def _chain(self, policies: Mapping[str, RoutingPolicy]) -> list[RoutingPolicy]:
        first, *others = (policies[name] for name in self._settings.policy_chain)
        if epsilon := self._settings.routing.exploration:
            first = BanditPolicy(first, None, features, np.random.default_rng(), epsilon=epsilon)
        return [first, *others]

    def _experiment(self, policies: Mapping[str, RoutingPolicy], chain: Sequence[RoutingPolicy]) -> Experiment | None:
        settings = self._settings.routing.experiment
        if settings is None:
            return None
        arms = [
            # Where the arm's policy cannot decide the chain does, and it still counts for the arm: leaving it out would flatter the arm.
            Arm(name, share, PolicyChain([named_policy(name, policies, self._versions, f"routing.experiment.arms.{name}"), *chain]))
            for name, share in settings.arms.items()
        ]
        return Experiment(settings.name, arms)

    def _shadows(self, policies: Mapping[str, RoutingPolicy]) -> Shadows:
        names = self._settings.routing.shadow
        named = {name: named_policy(name, policies, self._versions, f"routing.shadow.{place}") for place, name in enumerate(names)}
        shadows = Shadows(named)
        self._stack.push_async_callback(shadows.aclose)
        return shadows

    async def _open_models(self) -> None:
        models, cache = self._settings.models, self._settings.data_dir / "models"
        self._embedder = await open_embedder(models.embedding, cache)
        self._stack.push_async_callback(self._embedder.aclose)
        self._space = await self._open_space()
        self._sounds = await open_sound_space(models.audio, cache, self._embedder) if models.audio is not None else None
        if self._sounds is not None:
            self._stack.push_async_callback(self._sounds.aclose)
        self._recogniser = await SpacyRecogniser.open(models.entities)
        self._stack.push_async_callback(self._recogniser.aclose)
        self._llm: LanguageModel | None = None
        if models.llm is not None:
            self._llm = await open_language_model(models.llm, cache, self._settings.data_dir / "logs")
            self._stack.push_async_callback(self._llm.aclose)
            self._components.append(Component("language model", self._check_llm))
        self._components.append(Component("embedding model", self._check_embedder))

    async def _open_space(self) -> EmbeddingSpace | None:
        """None where the default for pictures does not go with the model for words, or is not installed; then they are found by words."""
        models = self._settings.models
        is_default = models.pictures.model == ALIGNED
        if is_default and self._embedder.name != MINILM:
            log.warning("pictures are not embedded", reason=f"{ALIGNED} goes with {MINILM} only; models.pictures.model names another")
            return None
        try:
            space = await open_space(models, self._settings.data_dir / "models", self._embedder)
        except ModelUnavailable as error:
            if not is_default:
                raise
            log.warning("pictures are not embedded", reason=error.message)
            return None
        self._stack.push_async_callback(space.aclose)
        return space

    @property
    def _picture_space(self) -> str:
        return f"{self._space.name} {self._space.version}" if self._space is not None else "none"

    @property
    def _picture_dimension(self) -> int:
        return self._space.dimension if self._space is not None else self._embedder.dimension

    async def _open_stores(self) -> None:
        settings, data_dir = self._settings, self._settings.data_dir
        self._journal: Journal = await open_journal(settings.journal, data_dir)
        self._stack.push_async_callback(self._journal.aclose)
        self._vectors = await MilvusVectorStore.open(
            settings.milvus, data_dir, space=self._embedder.name, dimension=self._embedder.dimension
        )
        self._stack.push_async_callback(self._vectors.aclose)
        await self._vectors.check_reading()
        self._picture_store = await self._open_picture_store()
        self._picture_vectors_store = await self._open_vectors_beside(f"{self._picture_space} pictures", self._picture_dimension)
        self._graph: BoltGraphStore = await open_graph_store(settings.graph, data_dir)
        self._stack.push_async_callback(self._graph.aclose)
        self._monitor = GraphMonitor(self._graph, settings.graph.probe_interval_s)
        await self._monitor.start()
        self._stack.push_async_callback(self._monitor.aclose)
        self._components += [
            Component("journal", self._check_journal),
            Component("vector store", self._check_vectors, self._first_source(VectorSource)),
            Component("graph store", self._check_graph, self._first_source(GraphSource)),
        ]

    async def _open_picture_store(self) -> PictureStore:
        url = self._settings.pictures.store
        if url is None or not url.get_secret_value():
            return FolderPictureStore(self._settings.data_dir / "pictures")
        from router.stores.s3_pictures import S3PictureStore  # its client is loaded only where it is used

        store = await S3PictureStore.open(url.get_secret_value())
        # Neither the service nor a source goes down with it: evidence only has no thumbnails meanwhile.
        self._components.append(Component("picture store", store.ping, source="picture store"))
        return store

    async def _open_vectors_beside(self, space: str, dimension: int) -> MilvusVectorStore:
        """In a collection beside the passages': a picture is a passage by its words, too."""
        settings = self._settings.milvus.model_copy(update={"lexical": "none"})
        store = await MilvusVectorStore.open(settings, self._settings.data_dir, space=space, dimension=dimension, beside=self._vectors)
        await store.check_reading()
        return store

    async def _open_corpus(self) -> Corpus:
        tenants = await self._journal.tenants()
        self._mirror = GraphMirror(self._graph, self._settings.data_dir / "snapshots", self._settings.fusion.walk)
        for tenant in tenants:
            try:
                await self._mirror.load([tenant])
            except StoreUnavailable:
                # The monitor has logged it; the first question after the database is back loads the graph.
                continue
        self._stack.push_async_callback(self._mirror.save)
        self._passage_vectors = PassageVectors(self._embedder.dimension)
        self._near_duplicates = NearDuplicates()
        for tenant in tenants:
            self._near_duplicates.put(tenant, await self._journal.fingerprints.all(tenant))
        self._picture_vectors = PassageVectors(self._picture_dimension)
        sounds = await self._sound_vectors()
        self._sound_search = None if sounds is None else PictureSearch(sounds.vector_store, sounds.vectors, self._passage_vectors)
        pictures = self._corpus_pictures(() if sounds is None else (sounds,))
        missing = {tenant: await self._load_vectors(tenant, pictures.kinds) for tenant in tenants}
        self._lexical = await self._open_lexical(tenants)
        self._word_vectors = await self._open_word_vectors(tenants)
        observers: list[CorpusObserver] = [self._mirror, self._passage_vectors, self._word_vectors]
        if isinstance(self._lexical, MemoryLexicalIndex):
            observers.append(self._lexical)
        corpus = Corpus(
            self._settings.corpus,
            self._journal,
            self._vectors,
            self._graph,
            self._embedder,
            self._recogniser,
            NameGraphBuilder(self._mirror, self._journal),
            observers,
            pictures,
            extractor=self._extractor(),
        )
        await corpus.start(missing)
        self._stack.push_async_callback(corpus.aclose)
        return corpus

    def _corpus_pictures(self, others: Sequence[FileVectors]) -> CorpusPictures:
        return CorpusPictures(
            self._picture_store,
            self._journal,
            self._space.pictures if self._space is not None else None,
            self._picture_space,
            self._picture_vectors_store,
            self._picture_vectors,
            self._settings.models.pictures.max_pixels,
            self._near_duplicates,
            self._settings.corpus.picture_labels,
            others,
        )

    async def _load_vectors(self, tenant: str, kinds: Sequence[FileVectors]) -> Mapping[str, int]:
        """Read a corpus' vectors into this process; how many the stores do not have, by document."""
        missing: Counter[str] = Counter()
        async for chunks in self._journal.all_chunks(tenant):
            missing += await self._passage_vectors.load(tenant, self._vectors, chunks)
            for kind in kinds:
                lost = await kind.vectors.load(tenant, kind.vector_store, kind.of(chunks))
                if kind.encoder is not None:  # without one none are made
                    missing += lost
        return missing

    async def _sound_vectors(self) -> FileVectors | None:
        if self._sounds is None or self._sounds.sounds is None:
            return None
        version, dimension = f"{self._sounds.name} {self._sounds.version}", self._sounds.dimension
        store = await self._open_vectors_beside(f"{version} sounds", dimension)
        return FileVectors("audio/", load_sound, self._sounds.sounds, version, store, PassageVectors(dimension))

    async def _open_decision_log(self) -> DecisionLog:
        log = DecisionLog(self._journal.decisions, self._settings.learning)
        await log.start()
        self._stack.push_async_callback(log.aclose)
        return log

    def _extractor(self) -> FactExtractor | None:
        openie = self._settings.corpus.openie
        return FactExtractor(self._llm, openie, self._journal.statements) if openie.enabled and self._llm is not None else None

    async def _open_word_vectors(self, tenants: list[str]) -> WordVectors:
        vectors = WordVectors(self._embedder)
        self._stack.push_async_callback(vectors.aclose)
        for tenant in tenants:
            if self._mirror.has(tenant):
                snapshot = await self._mirror.current(tenant)
                vectors.expect(snapshot.relations())
        return vectors

    async def _open_lexical(self, tenants: list[str]) -> LexicalIndex | None:
        match self._settings.milvus.lexical:
            case "none":
                return None
            case "milvus":
                return MilvusLexicalIndex(self._vectors)
            case "memory":
                index = MemoryLexicalIndex()
                for tenant in tenants:
                    async for chunks in self._journal.all_chunks(tenant):
                        await index.load(tenant, chunks)
                return index

    async def _query_pictures(self, linker: NameLinker) -> QueryPictures | None:
        if self._space is None or self._space.pictures is None:
            return None
        addresses = await PictureAddresses.open(self._settings.pictures, self._journal, self._picture_store)
        self._stack.push_async_callback(addresses.aclose)
        return QueryPictures(
            self._space.pictures,
            self._space.text if self._space.owns_text else None,
            self._space.composition.compose,
            addresses,
            self._picture_search,
            linker,
            self._journal,
            self._settings.models.pictures.max_pixels,
        )

    def _prober(self, linker: NameLinker, pictures: QueryPictures | None) -> Prober:
        sources = self._settings.sources.values()
        candidates = max((source.candidates for source in sources if isinstance(source, VectorSource)), default=VectorSource().candidates)
        hops = max((source.hops for source in sources if isinstance(source, GraphSource)), default=GraphSource().hops)
        coverage = self._lexical if isinstance(self._lexical, MemoryLexicalIndex) else None
        paths = RelationPaths(self._word_vectors, hops)
        return Prober(self._embedder, self._vectors, linker, self._mirror, paths, candidates, self._lexical, coverage, pictures)

    async def _open_source(self, name: str, settings: SourceSettings, linker: NameLinker) -> Source:
        retriever: Retriever
        match settings:
            case VectorSource():
                retriever = VectorRetriever(
                    name, settings, self._vectors, self._lexical, self._journal, self._picture_search, self._sound_search
                )
            case GraphSource():
                walk = self._settings.fusion.walk
                named = GraphRetriever(name, settings, walk, self._mirror, self._passage_vectors, self._journal, self._monitor)
                retriever = self._with_overviews(name, settings, named)
                if settings.text2cypher.enabled and self._llm is not None:
                    writer = CypherWriter(self._llm, self._graph.reader, settings.text2cypher)
                    retriever = GraphWithCypher(name, retriever, writer, self._mirror)
            case WebSource():
                web = await open_web_source(name, settings, linker.ids_in)
                self._stack.push_async_callback(web.aclose)
                self._components.append(Component(f"web search of {name}", web.check, name))
                retriever = web
        return Source(SourceProfile(name, settings.kind, settings.description, settings.cost), retriever)

    def _with_overviews(self, name: str, settings: GraphSource, named: GraphRetriever) -> OverviewRetriever:
        writer = SummaryWriter(settings, self._passage_vectors, self._journal, self._embedder)
        summaries = CommunitySummaries(writer, settings.summaries, self._passage_vectors, self._journal)
        self._stack.callback(summaries.close)
        return OverviewRetriever(name, named, self._mirror, summaries)

    def _fusions(self) -> dict[str, Fusion]:
        settings = self._settings.fusion
        return {
            "walk": WalkFusion(settings.walk, self._mirror, self._passage_vectors, self._journal),
            "rrf": ReciprocalRankFusion(settings.rrf_k),
            "weighted": WeightedFusion(),
        }

    async def _open_reranker(self) -> Reranker | None:
        settings, model = self._settings.rerank, self._settings.models.cross_encoder
        if settings.method == "learned":
            return LearnedReranker(self._mirror, self._passage_vectors, settings.candidates)
        if settings.method == "none" or model is None:
            return None
        cross_encoder = await open_cross_encoder(model, self._settings.data_dir / "models")
        self._stack.push_async_callback(cross_encoder.aclose)
        return CrossEncoderReranker(cross_encoder, settings)

    def _corrector(self) -> Corrector:
        settings = self._settings.correction
        remedies: list[Remedy] = [Widen()]
        if settings.sub_questions and self._llm is not None:
            remedies.append(SubQuestions(self._llm, settings.doubt))
        return Corrector(EvidenceJudge(), remedies, settings.turns)

    def _reader(self) -> Reader | None:
        words = self._settings.retrieval.read_words
        return Reader(self._journal, words) if words else None

    def _generator(self) -> Generator:
        models, settings = self._settings.models, self._settings.generation
        extractive = ExtractiveGenerator(self._embedder, settings)
        if self._llm is None:
            return extractive
        sees = isinstance(models.llm, OpenAILLM) and models.llm.vision
        pictures = PicturesToShow(self._picture_store, settings.max_pictures, models.pictures.max_pixels) if sees else None
        return LLMGenerator(self._llm, settings, extractive, pictures)

    def _first_source(self, kind: type[VectorSource] | type[GraphSource]) -> str:
        return next((name for name, source in self._settings.sources.items() if isinstance(source, kind)), "")

    async def _check_llm(self) -> str:
        if self._llm is None:
            raise ConfigurationError("no language model is configured", field="models.llm")
        await self._llm.ping()
        return self._llm.name

    async def _check_embedder(self) -> str:
        await self._embedder.embed(["ready?"])
        return f"{self._embedder.name}, {self._embedder.dimension} dimensions"

    async def _check_journal(self) -> str:
        await self._journal.ping()
        return self._settings.data_dir.name if self._settings.journal.url is None else "by URL"

    async def _check_vectors(self) -> str:
        await self._vectors.ping()
        return self._settings.milvus.uri or "Milvus Lite"

    async def _check_graph(self) -> str:
        if not self._monitor.is_up:
            raise StoreUnavailable(self._monitor.last_error)
        return self._settings.graph.uri or "embedded ArcadeDB"
