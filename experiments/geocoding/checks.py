"""Texts whose answer everyone knows: names that a region tells apart, and names in sentences.

Two groups. "told apart": the name alone means another, larger place. "in a sentence": scripts
without spaces, and names onto which prepositions and case endings have grown. An answer is right
within 50 km. No text here is trained on: `fl_jax.geocoding.texts` draws its own from templates.
"""

import numpy as np

from fl_jax.geocoding import s2, sphere

NEAR_KM = 50.0
TOLD_APART = (
    ("Paris, Texas", 33.66, -95.56),
    ("Paris, TX", 33.66, -95.56),
    ("London, Ontario", 42.98, -81.23),
    ("Birmingham, Alabama", 33.52, -86.80),
    ("Cambridge, Massachusetts", 42.38, -71.11),
    ("Naples, Florida", 26.14, -81.79),
    ("Moscow, Idaho", 46.73, -117.00),
    ("Athens, Georgia", 33.96, -83.38),
    ("Rome, Georgia, United States", 34.26, -85.16),
    ("Melbourne, Florida", 28.08, -80.61),
    ("St. Petersburg, Florida", 27.77, -82.68),
    ("Portland, Maine", 43.66, -70.26),
    ("Vancouver, Washington", 45.64, -122.66),
    ("Valencia, Venezuela", 10.16, -68.00),
    ("San José, Costa Rica", 9.93, -84.08),
    ("Tripoli, Lebanon", 34.44, 35.83),
    ("Santiago de Compostela", 42.88, -8.55),
    ("Santiago, Spain", 42.88, -8.55),
    ("Mérida, Spain", 38.92, -6.34),
    ("Mérida (Venezuela)", 8.59, -71.14),
    ("Córdoba, Argentina", -31.41, -64.18),
    ("Hyderabad, Pakistan", 25.40, 68.37),
    ("Perth, Scotland", 56.40, -3.43),
    ("Boston, England", 52.98, -0.02),
    ("Newcastle, New South Wales", -32.93, 151.78),
    ("Toledo, Ohio", 41.66, -83.56),
    ("bridge in Cambridge, Ontario", 43.36, -80.31),
    ("a school near Manchester, New Hampshire", 42.99, -71.46),
    ("20 km north of Paris, Texas", 33.84, -95.56),
    ("Frankfurt (Oder)", 52.34, 14.55),
    ("Триполи, Ливан", 34.44, 35.83),
    ("バレンシア、ベネズエラ", 10.16, -68.00),
    ("伯明翰，美国", 33.52, -86.80),
    ("طرابلس، لبنان", 34.44, 35.83),
)
IN_A_SENTENCE = (
    ("กรุงเทพ", 13.75, 100.50),
    ("โรงเรียนในกรุงเทพ", 13.75, 100.50),
    ("ቤተ ክርስቲያን በአዲስ አበባ", 9.02, 38.75),
    ("בית ספר בירושלים", 31.78, 35.22),
    ("גשר בתל אביב", 32.08, 34.78),
    ("مدرسة بالقاهرة", 30.06, 31.25),
    ("школа в Москве", 55.75, 37.62),
    ("музей в Казани", 55.79, 49.12),
    ("서울에서", 37.57, 126.98),
    ("부산의 병원", 35.10, 129.04),
    ("თბილისში", 41.69, 44.83),
    ("դպրոց Երևանում", 40.18, 44.51),
    ("ঢাকায় একটি স্কুল", 23.71, 90.41),
    ("சென்னையில் ஒரு பள்ளி", 13.09, 80.28),
    ("東京の神社", 35.69, 139.69),
    ("上海的学校", 31.22, 121.46),
    ("サンカルロスデバリローチェ", -41.15, -71.31),
    ("μουσείο της Αθήνας", 37.98, 23.73),
)


def texts() -> list[str]:
    """All of them."""
    return [text for text, _, _ in TOLD_APART + IN_A_SENTENCE]


def score(lat: np.ndarray, lon: np.ndarray) -> dict:
    """How many of each group are right, and which are not.

    Args:
        lat, lon: of the answers to `texts()`; NaN where there is none.
    """
    found, at = {}, 0
    for name, group in (("told apart", TOLD_APART), ("in a sentence", IN_A_SENTENCE)):
        wanted = np.array([(a, b) for _, a, b in group])
        own = slice(at, at + len(group))
        given = np.nan_to_num(s2.xyz(lat[own], lon[own]), nan=0.0)
        km = sphere.chord_km(given, s2.xyz(wanted[:, 0], wanted[:, 1]))
        right = (km < NEAR_KM) & ~np.isnan(lat[own])
        wrong = [text for (text, _, _), good in zip(group, right, strict=True) if not good]
        found[name] = {"right": int(right.sum()), "of": len(group), "wrong": wrong}
        at += len(group)
    return found
