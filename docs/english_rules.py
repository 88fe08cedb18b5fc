"""The tables of the English lint (`docs/english.py`): openings, words, names, and the exceptions with their reasons."""

import re
from typing import NamedTuple

# A docstring that opens so is half a sentence, whatever follows.
HALF = (
    r"What|Whatever|Who|Whoever|Whom|Whose|Which|Whichever|How|However many|Why|Whether|That|Nor|And|But|Or|Also|Then"
    r"|So many|So much|As|Like|None:|Those(?= of| that| who| whose|,)|One(?= that| whose| to|,|:)"
    r"|The same(?=[,:;.]| for| of| in| as| with| when| where| once| by| within| to)"
)
# A docstring that opens so is a sentence only if a main clause follows, after a comma.
CLAUSE = r"When|Where|Wherever|While|If|Once|Unless|Until|Since|Because"
# A docstring that opens so is a sentence only if a verb follows.
PHRASE = (
    r"After|Before|Even|Not|Without|With|Under|On|In|Of|By|From|For|At|Up|Out|Despite"
    r"|[A-Z]\w+(?<!e)ed(?=,| (?:and|or|by|in|at|on|since|while|once|off|out|up) )|Sent|Given|Kept|Left|Told|Paid"
)
VERBS = frozenset(
    re.findall(
        r"\w+",
        """is are was were has have had do does did can cannot could may might must shall should will would
        come comes count counts end ends find finds give gives go goes keep keeps let lets look looks make makes mean
        means need needs pay pays read reads return returns say says see sees send sends stay stays take takes use uses
        wait waits want wants work works""",
    )
)


class Word(NamedTuple):
    """A word or phrase that has a plainer one."""

    pattern: str
    instead: str


# "for" as "because" is followed by a subject and its verb: ", for it is", ", for aiohttp's own default would refuse".
_SUBJECT = r"(?:(?!(?:that|which|who|whose|whom|and|or|in|as|from|with|to|by|at|on)\b)[\w'`…-]+,? ){1,5}?"
_VERB = (
    r"(?:(?:is|are|was|were|has|have|had|does|do|did|can|cannot|may|must|might|would|will|could|never|comes|take|takes"
    r"|runs?|counts?|goes|needs?|means)\b|\w{3,}s (?:the|a|an|it|its|no|nothing|our|over|before|after)\b)"
)
WORDS = (
    Word(rf"(?<=, |; |: )for(?= {_SUBJECT}{_VERB})", "because"),
    Word(r"anew|afresh", "again"),
    Word(r"in turn", "sorted; one after the other"),
    Word(r"so many|so much", "this many; at most 5"),
    Word(r"astray", "which thing is wrong"),
    Word(r"aloud", "where it is said: in a log line, in the answer"),
    Word(r"of its own kind", "the kind"),
    Word(r"interests nobody", "is not needed"),
    Word(r"nobody's business", "private"),
    Word(r"be it|be they", "whether it is"),
    Word(r"in vain", "without success"),
    Word(r"mend|mends|mended|mending", "fix, correct, repair"),
    Word(r"gravest", "most serious"),
    Word(r"dawdles?", "is slow"),
    Word(r"knocks?", "calls"),
    Word(r"lest", "so that … not"),
    Word(r"ere|betimes|hitherto|henceforth|whence|thence|hence", "before; until now; from now on; so"),
    Word(r"wherein|therein|thereof|thereby|thereupon|whereupon|whereby", "in which; of it; by that; then"),
    Word(r"amiss", "wrong"),
    Word(r"thrice", "three times"),
    Word(r"naught|nought", "nothing; zero"),
)
WORD = re.compile(
    rf"\b(?:{'|'.join(f'(?P<w{n}>{word.pattern})' for n, word in enumerate(WORDS))})(?!\w)", re.IGNORECASE
)

# A name that once meant two things, and the one module that may define it; "" for none.
HOMES = {
    "Answer": "",
    "Answered": "",
    "AWAY": "",
    "BATCH_MAX": "",
    "QueueUnavailable": "",
    "Refusal": "",
    "Settled": "",
    "StoreUnavailable": "",
    "Stored": "",
    "Stores": "",
    "client_of": "",
    "CancelResult": "service.domain.refund",
    "CompletionAnswer": "service.domain.completion",
    "CompletionRefusal": "service.domain.completion",
    "ConfirmationRefusal": "service.domain.confirm",
    "HttpProblem": "service.http.problems",
    "LookResult": "service.domain.judgement",
    "NOTICES_PER_JOB": "service.redis.queue",
    "OpenNotice": "service.domain.notice",
    "Outcome": "service.domain.notice",
    "PAYMENTS_PER_CALL": "service.portone.client",
    "POSTGRES_AWAY": "service.db.pool",
    "PreparationState": "service.db.preparations",
    "Problem": "service.domain.order",
    "REDIS_AWAY": "service.redis.bounds",
    "Scan": "service.db.ledger_scans",
    "Store": "service.domain.payment",
    "Turn": "workers.parts",
    "Verified": "service.domain.completion",
    "VersionedOrder": "service.domain.order",
    "account_client": "service.portone.accounts",
    "assess": "service.domain.staleness",
    "client_address": "service.http.client_address",
    "judge": "service.domain.judgement",
    "rule_on_refund": "service.domain.refund",
    "settle": "service.domain.settle",
}


class Allowed(NamedTuple):
    """A finding that stands, and why."""

    file: str
    text: str
    reason: str


ALLOWED: tuple[Allowed, ...] = (
    Allowed("CONTRIBUTING.md", "in turn", "the page names what is banned"),
    Allowed("CONTRIBUTING.md", "so many", "the page names what is banned"),
    Allowed("CONTRIBUTING.md", "anew", "the page names what is banned"),
)
