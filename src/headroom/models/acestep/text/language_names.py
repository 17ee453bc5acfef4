"""Names and codes for the languages that ACE-Step 1.5 sings, as people and programs use them. No
torch.

Data: names in English and in the language itself, ISO 639 codes of three letters, and codes that
are outdated or taken from countries but still in use.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

from headroom.models.acestep.text.vocabulary import LANGUAGES

_NAMES = """\
ar arabic,العربية,عربي,ara
az azerbaijani,azeri,azərbaycan,azərbaycanca,aze
bg bulgarian,български,bul
bn bengali,bangla,বাংলা,ben
ca catalan,català,valencian,cat
cs czech,čeština,cesky,česky,cz,ces,cze
da danish,dansk,dk,dan
de german,deutsch,deu,ger
el greek,ελληνικά,gr,ell,gre
en english,eng
es spanish,español,espanol,castellano,castilian,spa
fa persian,farsi,فارسی,fas,per
fi finnish,suomi,fin
fr french,français,francais,fra,fre
he hebrew,עברית,iw,heb
hi hindi,हिन्दी,हिंदी,hin
hr croatian,hrvatski,hrv
ht haitian creole,haitian,kreyòl ayisyen,kreyol,hat
hu hungarian,magyar,hun
id indonesian,bahasa indonesia,in,ind
is icelandic,íslenska,isl,ice
it italian,italiano,ita
ja japanese,日本語,jp,jpn
ko korean,한국어,kr,kor
la latin,latina,lat
lt lithuanian,lietuvių,lit
ms malay,bahasa melayu,melayu,msa,may,zsm
ne nepali,नेपाली,nep
nl dutch,nederlands,flemish,nld,dut
no norwegian,norsk,bokmål,bokmal,nynorsk,nb,nn,nor,nob,nno,norwegian bokmål,norwegian nynorsk
pa punjabi,panjabi,ਪੰਜਾਬੀ,pan
pl polish,polski,pol
pt portuguese,português,portugues,brazilian portuguese,brazilian,por
ro romanian,română,romana,moldavian,mo,ron,rum
ru russian,русский,rus
sa sanskrit,संस्कृतम्,san
sk slovak,slovenčina,slk,slo
sr serbian,српски,srpski,srp
sv swedish,svenska,swe
sw swahili,kiswahili,swa
ta tamil,தமிழ்,tam
te telugu,తెలుగు,tel
th thai,ไทย,tha
tl tagalog,filipino,fil,tgl
tr turkish,türkçe,turkce,tur
uk ukrainian,українська,ua,ukr
ur urdu,اردو,urd
vi vietnamese,tiếng việt,vn,vie
yue cantonese,粤语,粵語,廣東話,广东话
zh chinese,mandarin,中文,汉语,漢語,普通话,國語,国语,cn,cmn,zho,chi,mandarin chinese
unknown und"""

LANGUAGE_WORDS: Mapping[str, str] = MappingProxyType(
    {code: code for code in LANGUAGES}
    | {
        unicodedata.normalize("NFKC", word).casefold(): line.partition(" ")[0]
        for line in _NAMES.split("\n")
        for word in line.partition(" ")[2].split(",")
    }
)
"""Codes and names of languages, in lower case → the code the model knows."""


_TAG = re.compile(r"([a-z]{2,3})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?")
_CANTONESE = re.compile(r"zh-yue(?:-.*)?")


def language_of(text: str) -> str | None:
    """The code of a language, given a tag with a script or region (`en-US`, `pt_BR`, `zh-Hans`), an
    older or longer code (`jp`, `nb`, `eng`), or a name (`English`, `日本語`); None if it is not one
    that the model knows."""
    plain = unicodedata.normalize("NFKC", text).casefold().partition("(")[0].replace("_", "-")
    word = " ".join(plain.split())
    if word in LANGUAGE_WORDS:
        return LANGUAGE_WORDS[word]
    if _CANTONESE.fullmatch(word):
        return "yue"
    tag = _TAG.fullmatch(word)
    return LANGUAGE_WORDS.get(tag[1]) if tag is not None else None


def known_language(value: object) -> object:
    """The language code of a value; any other value is returned unchanged."""
    return value if not isinstance(value, str) else language_of(value) or value
