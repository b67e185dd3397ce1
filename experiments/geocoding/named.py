"""Sentences in which every place is marked, to see which names are found and what else is.

Cities, divisions and countries are marked with the country they lie in, `[Paris|FR]`;
nationalities, people and organisations are not, though places are called so. No text here is
trained on. While the finder was made, `SEEN` was looked at, and `UNSEEN` was not: it was written
before the finder was run on any of it, and left as it was.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

SEEN = (
    "Angela Merkel visited [France|FR] and [Germany|DE] before she flew to [Washington|US].",
    "The Police in [Bath|GB] said that we are safe. We went to [Lyon|FR] by train.",
    "Heavy rain hit [Bangkok|TH] on Monday; the Prime Minister, George Smith, spoke in [Chiang "
    "Mai|TH].",
    "She was born in [Springfield|US], [Illinois|US], and died in [Nice|FR], [France|FR], in 1954.",
    "Reading is my hobby, and I do most of it on the train from [Reading|GB] to [London|GB].",
    "Mr. Jordan, a lawyer from [Amman|JO], said that [Jordan|JO] would sign the treaty next week.",
    "Paris Hilton opened a new hotel in [Dubai|AE] last night.",
    "I love you more than words can say. Of all the things we had, hope was the last to go.",
    "The bank will open again on Sunday, but most of the shops in [Mobile|US], [Alabama|US] "
    "stay shut.",
    "Our flight from [São Paulo|BR] to [Lisbon|PT] was late, so we missed the train to [Porto|PT].",
    "The company, which has offices in [Zürich|CH], [Singapore|SG] and [New York|US], cut 300 "
    "jobs.",
    "Turkey with chestnuts is what we eat at Christmas; in [Turkey|TR] nobody does.",
    "Chelsea Clinton and Jack London never met in [Chicago|US].",
    "No, that is not what I meant. Go home, take a bath and read a good book.",
    "More than 2,000 people marched in [Kyiv|UA], [Kharkiv|UA] and [Lviv|UA] on Saturday.",
    "We ate Danish pastries and French cheese in a Chinese restaurant.",
    "The Bishop of [Lincoln|GB] wrote to Abraham Lincoln's grandson in [Boston|US].",
    "Amazon and Apple report their results today, and so does Orange.",
    "Students from [Kyoto|JP] University met the mayor of [Nara|JP].",
    "The doctor moved from [Cork|IE] to [Perth|AU], [Australia|AU], when he was thirty.",
    "A man was arrested near [Manchester|GB] on suspicion of theft, the court heard.",
    "Many of the workers came from [Bihar|IN] and [Uttar Pradesh|IN] to [Mumbai|IN].",
    "Write a function that returns the sum of all even numbers in a list.",
    "i want to go from [paris|FR] to [berlin|DE] next week",
    "cheap hotels in [barcelona|ES] for two people",
    "how do i fix my bike at home",
    "Le président a quitté [Marseille|FR] pour [Alger|DZ], où il doit rencontrer le roi du "
    "[Maroc|MA].",
    "Il est né à [Tours|FR] et a fait le tour de la ville avant de partir pour [Nantes|FR].",
    "La vie est belle, mais tous les hommes ne sont pas libres.",
    "El ministro viajó de [Madrid|ES] a [Buenos Aires|AR] y después a [Santiago|CL], la capital "
    "de [Chile|CL].",
    "La libertad es de todos, y nadie será sometido a torturas.",
    "Los vecinos de [Valencia|ES] protestaron contra la subida del precio del agua.",
    "Die Polizei in [München|DE] hat einen Mann aus [Essen|DE] festgenommen, der zu viel essen "
    "wollte.",
    "Das Recht auf Arbeit gilt für alle, auch in [Österreich|AT].",
    "Am Sonntag fährt der Zug von [Wien|AT] nach [Graz|AT] nur bis [Bruck an der Mur|AT].",
    "Il sindaco di [Firenze|IT] è arrivato a [Napoli|IT] con il treno delle otto.",
    "Ognuno ha diritto alla vita, alla libertà e alla sicurezza.",
    "De burgemeester van [Utrecht|NL] reisde naar [Brussel|BE] en [Antwerpen|BE].",
    "O governador da [Bahia|BR] esteve em [Salvador|BR] e em [Recife|BR] na segunda-feira.",
    "Premier pojechał z [Krakowa|PL] do [Gdańska|PL], a potem do [Berlina|DE].",
    "Он приехал из [Москвы|RU] в [Казань|RU], а потом улетел в [Ташкент|UZ].",
    "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "Президент [Украины|UA] встретился с мэром [Варшавы|PL].",
    "Başbakan dün [Ankara|TR]'dan [İzmir|TR]'e gitti ve orada bir konuşma yaptı.",
    "Herkesin yaşamak ve özgür olmak hakkı vardır.",
    "Gubernur [Jawa Barat|ID] tiba di [Bandung|ID] dari [Jakarta|ID] pada hari Senin.",
    "Setiap orang berhak atas pendidikan dan pekerjaan yang layak.",
    "Thủ tướng rời [Hà Nội|VN] để đến [Đà Nẵng|VN] hôm thứ Hai.",
    "Rais alisafiri kutoka [Nairobi|KE] hadi [Mombasa|KE] kwa treni.",
    "Kila mtu ana haki ya kuishi na kuwa huru.",
    "سافر الوزير من [القاهرة|EG] إلى [دمشق|SY] ثم عاد إلى [بغداد|IQ].",
    "لكل فرد الحق في الحياة والحرية وسلامة شخصه.",
    "השר נסע מ[ירושלים|IL] אל [חיפה|IL] ואחר כך אל [באר שבע|IL].",
    "प्रधानमंत्री [दिल्ली|IN] से [मुंबई|IN] गए और फिर [नेपाल|NP] की यात्रा की।",
    "সবাই স্বাধীনভাবে জন্মগ্রহণ করে এবং সমান মর্যাদা পায়।",
    "市长从[上海|CN]飞往[北京|CN]，然后去了[广州|CN]。",
    "人人有权享有生命、自由和人身安全。",
    "首相は[東京|JP]から[大阪|JP]へ行き、[京都|JP]で演説した。",
    "すべての人は自由であり、平等である。",
    "대통령은 [서울|KR]에서 [부산|KR]으로 이동했다.",
    "นายกรัฐมนตรีเดินทางจาก[กรุงเทพ|TH]ไป[เชียงใหม่|TH]",
    "Ο πρωθυπουργός πήγε από την [Αθήνα|GR] στη [Θεσσαλονίκη|GR].",
)

UNSEEN = (
    "A fire broke out on Friday in a warehouse in [Rotterdam|NL], police in the "
    "[Netherlands|NL] said.",
    "The orchestra will play in [Vienna|AT], [Salzburg|AT] and [Linz|AT] before it returns to "
    "[Leipzig|DE].",
    "Her father, a farmer from [Iowa|US], never left the state.",
    "Ford and Lincoln are old names in the trade; so is Austin.",
    "He worked for ten years in [Austin|US], then for five in [Denver|US].",
    "Talks between [Ethiopia|ET] and [Kenya|KE] will begin in [Addis Ababa|ET] on 4 May.",
    "Mrs. Chester thanked Mr. York and his wife Florence.",
    "The ferry from [Dover|GB] to [Calais|FR] was cancelled because of the storm.",
    "We stayed in a small hotel near the beach, and it was very good.",
    "[Ann Arbor|US]'s mayor spoke first; then it was the turn of the mayor of [Detroit|US].",
    "It was in [Prague|CZ] that Albert Einstein met the writer Max Brod.",
    "[Peru|PE]'s president flew from [Lima|PE] to [La Paz|BO] to meet his colleague.",
    "The exhibition moves on to [Melbourne|AU] in March and to [Wellington|NZ] in May.",
    "Most people can read and write before they are ten years old.",
    "As the sun rose over the hill, all of us were ready to leave.",
    "Two men from [Lagos|NG] and a woman from [Accra|GH] won the prize.",
    "The Dutch painter sold three works to a Swiss collector and one to an Italian.",
    "Buffalo and beef are on the menu; the chef comes from [Buffalo|US], [New York|US].",
    "In [Georgia|GE], whose capital is [Tbilisi|GE], the harvest was poor.",
    "Return the length of the longest word in the given string.",
    "flights from [madrid|ES] to [rome|IT] in june",
    "what is the best way to learn to sing",
    "Les pompiers de [Toulouse|FR] ont été appelés à [Bordeaux|FR] pendant la nuit.",
    "Elle a grandi en [Belgique|BE], à [Liège|BE], dans une famille très pauvre.",
    "Nous avons mangé une orange et bu de l'eau avant la fin de la pause.",
    "El tren de [Sevilla|ES] a [Córdoba|ES] llega a las ocho y media de la noche.",
    "Nació en [Guadalajara|MX], en el estado de [Jalisco|MX], y murió en [Bogotá|CO].",
    "Cada uno de los niños tiene una mesa, una silla y una ventana.",
    "In [Hamburg|DE] und [Bremen|DE] regnet es seit Tagen, in [Bayern|DE] scheint die Sonne.",
    "Der Herr am Ende der Straße hat einen großen Hund und eine kleine Katze.",
    "Il treno per [Milano|IT] parte da [Torino|IT] alle nove.",
    "La mamma e il papà hanno una bella casa con un giardino.",
    "Hij werd geboren in [Gent|BE] en woont nu in [Den Haag|NL].",
    "O avião saiu de [Lisboa|PT] e chegou a [Luanda|AO] de manhã.",
    "Vlak z [Brna|CZ] do [Prahy|CZ] má dvě hodiny zpoždění.",
    "Tåget från [Malmö|SE] till [Göteborg|SE] är försenat.",
    "Поезд из [Самары|RU] прибыл в [Саратов|RU] рано утром.",
    "Мы живём в маленьком доме, и у нас есть большая собака.",
    "Міністр вилетів з [Києва|UA] до [Одеси|UA].",
    "Otobüs [Bursa|TR]'dan kalktı ve akşam [Konya|TR]'ya vardı.",
    "Kapal itu berlayar dari [Surabaya|ID] ke [Makassar|ID].",
    "Tàu chạy từ [Huế|VN] đến [Nha Trang|VN] mỗi ngày.",
    "Tôi muốn ăn cơm và uống nước.",
    "Treni ya [Dodoma|TZ] itaondoka kesho asubuhi.",
    "وصل القطار إلى [الإسكندرية|EG] قادما من [أسوان|EG].",
    "يحب الناس القراءة والكتابة في الصباح.",
    "הרכבת מגיעה אל [תל אביב|IL] בשעה שמונה.",
    "रेलगाड़ी [जयपुर|IN] से [लखनऊ|IN] जाती है।",
    "火车从[武汉|CN]开往[成都|CN]。",
    "我喜欢看书，也喜欢听音乐。",
    "電車は[名古屋|JP]から[福岡|JP]まで走る。",
    "私は本を読むのが好きです。",
    "기차는 [대구|KR]에서 [광주|KR]로 간다.",
    "รถไฟจาก[ขอนแก่น|TH]มาถึงแล้ว",
    "Το τρένο φεύγει από τη [Λάρισα|GR] για την [Πάτρα|GR].",
)


class Place(NamedTuple):
    """A place that is named."""

    start: int  # characters
    end: int
    country: str  # ISO 3166-1 alpha-2


class Sentence(NamedTuple):
    """A text and the places in it."""

    text: str
    places: tuple[Place, ...]


def sentences(marked: Sequence[str]) -> list[Sentence]:
    """The texts without their marks."""
    return [_read(one) for one in marked]


def _read(marked: str) -> Sentence:
    text, places = "", []
    for part in re.split(r"(\[[^\]]*\])", marked):
        if part.startswith("["):
            name, _, country = part[1:-1].partition("|")
            places.append(Place(len(text), len(text) + len(name), country))
            part = name
        text += part
    return Sentence(text, tuple(places))


def score(given: Sequence[Sentence], found: Sequence[Sequence[Place]]) -> dict[str, float]:
    """Precision, recall and F1 of the names, and how many of those found lie in the right country.

    A name is found where something that is found overlaps it: case endings belong to a word in some
    languages and not in others.

    Args:
        given: with what is right.
        found: what was found in each.
    """
    names = right = wrong = hits = abroad = 0
    for sentence, places in zip(given, found, strict=True):
        over = lambda p, q: p.start < q.end and q.start < p.end
        names += len(sentence.places)
        for place in sentence.places:
            own = [p for p in places if over(place, p)]
            hits += bool(own)
            abroad += bool(own) and all(p.country != place.country for p in own)
        for place in places:
            good = any(over(place, p) for p in sentence.places)
            right, wrong = right + good, wrong + (not good)
    precision, recall = right / max(right + wrong, 1), hits / max(names, 1)
    return {
        "names": names,
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / max(precision + recall, 1e-9),
        "right country": 1 - abroad / max(hits, 1),
    }
