"""Names of regions that no list of today's divisions has, typed by hand.

GeoNames names each first-level division once. What people call them besides is here: names in the
language of the country or in English, and regions that were merged or split, each with the
divisions that make it up today, those that hold most of it first.
"""

# ruff: noqa: E501 -- a table

# country code; names = divisions by GeoNames' codes | ...
_TABLE = """
AT; Tirol = 07|Steiermark = 06|Kärnten = 02|Oberösterreich = 04|Niederösterreich = 03
BE; Vlaanderen,Flemish Region = VLG|Wallonie,Walloon Region = WAL
CA; Newfoundland,Labrador = 05
CH; Graubünden = GR|Wallis = VS|Tessin = TI|Waadt = VD
CN; Manchuria = 19,05,08
CZ; Bohemia,Čechy = 88,79,87,82,86|Moravia,Morava = 78,84,90,85|South Bohemia,South Bohemian Region = 79|South Moravian Region = 78|Central Bohemian Region = 88|Plzeň Region = 87|Vysočina Region = 80|Olomouc Region = 84|Zlín Region = 90|Moravian-Silesian Region = 85|Pardubice Region = 86|Hradec Králové Region = 82|Liberec Region = 83|Ústí nad Labem Region = 89|Karlovy Vary Region = 81
DE; Bayern = 02|Sachsen = 13|Sachsen-Anhalt = 14|Thüringen = 15|Hessen = 05|Niedersachsen = 06|Nordrhein-Westfalen = 07|Rhineland-Palatinate = 08|Mecklenburg,Mecklenburg-Western Pomerania = 12|Franconia,Franken = 02|Swabia = 02,01|Allgäu = 02|Westphalia,Westfalen = 07|Rhineland,Rheinland = 07,08|Palatinate,Pfalz = 08|Württemberg = 01|Holstein,Schleswig = 10|East Frisia,Ostfriesland = 06|Lusatia,Lausitz = 13,11
DK; Jutland,Jylland = 18,19,21|Funen,Fyn = 21|Sjælland = 20
ES; Castile = 55,54|Castile and León,Castilla y León = 55|Castilla-La Mancha,Castile-La Mancha = 54|Andalucía = 51|Cataluña,Catalunya = 56|Euskadi,País Vasco = 59|Navarra = 32|Baleares,Islas Baleares = 07|Canarias,Islas Canarias = 53
FI; Savonia,Savo = 11,10|Tavastia = 05
FR; Burgundy,Bourgogne,Franche-Comté = 27|Aquitaine = 75|Gascony,Gascogne = 75,76|Limousin,Poitou,Poitou-Charentes,Périgord = 75|Alsace,Lorraine,Champagne,Champagne-Ardenne = 44|Picardy,Picardie,Nord-Pas-de-Calais,Artois = 32|Languedoc,Languedoc-Roussillon,Roussillon,Midi-Pyrénées = 76|Auvergne,Rhône-Alpes,Savoy,Savoie,Dauphiné = 84|Provence,French Riviera = 93|Centre-Val de Loire,Touraine,Berry = 24|Anjou = 52|Bretagne = 53|Normandie,Upper Normandy,Lower Normandy,Haute-Normandie,Basse-Normandie = 28|Corse = 94
GR; Macedonia and Thrace,Western Thrace = ESYE11|Cyclades,Dodecanese = ESYE42
HR; Dalmatia,Dalmacija = 15,19,13,03|Slavonia,Slavonija = 10,02,11,17|Istra = 04
HU; Transdanubia = 23,17,09,24,22
IE; Connacht = C
IN; Bengal = 28|Orissa = 21|Uttaranchal = 39|Kashmir = 12|Pondicherry = 22|Malabar = 13
IT; Sicilia = 15|Sardegna = 14|Toscana = 16|Lombardia = 09|Piemonte = 12|Puglia = 13|Marche = 10|Lazio = 07|Basilicata,Lucania = 02|Emilia,Romagna = 05|Trentino,Alto Adige,South Tyrol,Südtirol,Trentino-South Tyrol,Trentino-Alto Adige/Südtirol = 17|Friuli = 06|Valle d'Aosta,Vallée d'Aoste = 19
JP; Tohoku = 44,24,16,08,02|Kansai = 32,22,13,28,35|Kyushu = 07,21,18,27,25|Shikoku = 39,17,05,20
MM; Arakan = 01|Tenasserim = 12|Pegu = 16
NL; Frisia,Fryslân = 02|Noord-Holland = 07|Zuid-Holland = 11|Noord-Brabant,Brabant = 06
NO; Finnmark,Troms = 54|Vestfold,Telemark = 38|Hordaland,Sogn og Fjordane = 46|Hedmark,Oppland = 34|Akershus,Østfold,Buskerud = 30|Aust-Agder,Vest-Agder = 42|Nord-Trøndelag,Sør-Trøndelag = 21
PK; Sind = 05|Baluchistan = 02|Kashmir = 06
PL; Mazovia Voivodeship,Masovian Voivodeship,Mazowsze,Masovia = 78|Greater Poland Voivodeship,Wielkopolska = 86|Lesser Poland Voivodeship,Małopolska = 77|Lower Silesian Voivodeship,Dolny Śląsk = 72|Silesian Voivodeship,Śląsk = 83|Upper Silesia = 83,79|Opole Silesia = 79|Pomeranian Voivodeship,Kashubia = 82|West Pomeranian Voivodeship = 87|Kuyavian-Pomeranian Voivodeship,Kuyavia = 73|Warmian-Masurian Voivodeship,Masuria,Warmia = 85|Podlaskie Voivodeship,Podlachia = 81|Podkarpackie Voivodeship,Subcarpathian Voivodeship = 80|Lubusz Voivodeship = 76|Lublin Voivodeship = 75|Świętokrzyskie Voivodeship,Holy Cross Province = 84
PT; Algarve = 09|Alentejo = 08,03,16|Minho = 04,20|Trás-os-Montes = 05,21|Açores = 23
RO; Transylvania,Transilvania,Siebenbürgen = 13,27,33,09,01|Wallachia,Muntenia = 30,16,03,35,31|Moldavia = 23,04,28,34,38|Dobruja,Dobrogea = 14,37|Banat = 36,12|Bukovina = 34|Oltenia = 17,19,39,29,26|Crișana = 05,02
RS; Šumadija = SE
SE; Scania = 27|Dalecarlia = 10|Småland = 08,12,09|Västergötland,Bohuslän,Dalsland = 28|Närke = 15|Uppland = 21,26|Ångermanland,Medelpad = 24|Hälsingland,Gästrikland = 03
TR; Cappadocia = 50,75,40|Eastern Thrace = 59,22,39
UA; Volhynia = 24,19|Podolia = 09,23|Zakarpattia,Zakarpattia Oblast = 25|Donbas,Donbass = 05,14|Eastern Galicia = 15,06,22|Lviv Oblast = 15|Kyiv Oblast,Kiev Oblast = 13|Kharkiv Oblast = 07|Odesa Oblast,Odessa Oblast = 17|Donetsk Oblast = 05|Luhansk Oblast = 14|Volyn Oblast = 24|Rivne Oblast = 19|Chernihiv Oblast = 02|Sumy Oblast = 21|Mykolaiv Oblast = 16
US; New England = MA,CT,ME,NH,VT
ZA; Free State = 03|Natal,Zululand = 02|Transvaal = 06,09,07
"""


def names() -> dict[str, list[str]]:
    """COUNTRY.CODE -> further names of the division."""
    found: dict[str, list[str]] = {}
    for line in _TABLE.strip().splitlines():
        country, entries = line.split("; ", 1)
        for entry in entries.split("|"):
            own, divisions = entry.split(" = ")
            for code in divisions.split(","):
                found.setdefault(f"{country}.{code}", []).extend(own.split(","))
    return found
