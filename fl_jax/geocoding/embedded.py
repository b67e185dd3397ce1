"""A few hundred cities and their countries, typed by hand: enough to run without a data folder."""

# ruff: noqa: E501 -- a table

# country code: names ; city latitude longitude thousands of people [= other names] | ...
_TABLE = """
AF Afghanistan; Kabul 34.53 69.17 4400=کابل|Herat 34.35 62.20 570|Kandahar 31.61 65.71 610
AL Albania,Shqipëria; Tirana 41.33 19.82 420|Durrës 41.32 19.45 110
DZ Algeria,Algérie,الجزائر; Algiers 36.75 3.04 2700=Alger|Oran 35.69 -0.63 850|Constantine 36.37 6.61 450
AO Angola; Luanda 8.84S 13.23 2700|Huambo 12.78S 15.74 600
AR Argentina; Buenos Aires 34.61S 58.38W 13000|Córdoba 31.41S 64.18W 1400|Rosario 32.95S 60.64W 1200|Mendoza 32.89S 68.83W 880|Ushuaia 54.80S 68.30W 57
AM Armenia,Հայաստան; Yerevan 40.18 44.51 1090=Երևան|Gyumri 40.79 43.85 148
AU Australia; Sydney 33.87S 151.21 4600|Melbourne 37.81S 144.96 4500|Brisbane 27.47S 153.03 2200|Perth 31.95S 115.86 1900|Adelaide 34.93S 138.60 1200|Darwin 12.46S 130.84 130|Hobart 42.88S 147.33 216|Alice Springs 23.70S 133.88 26
AT Austria,Österreich; Vienna 48.21 16.37 1700=Wien|Graz 47.07 15.44 222|Salzburg 47.80 13.04 150|Innsbruck 47.26 11.39 112
AZ Azerbaijan; Baku 40.38 49.89 2300
BD Bangladesh; Dhaka 23.71 90.41 10300=ঢাকা|Chittagong 22.34 91.83 3900
BY Belarus; Minsk 53.90 27.57 1740=Мінск,Минск
BE Belgium,België,Belgique; Brussels 50.85 4.35 1020=Bruxelles,Brussel|Antwerp 51.22 4.40 460=Antwerpen|Ghent 51.05 3.72 231
BO Bolivia; La Paz 16.50S 68.15W 812|Santa Cruz 17.79S 63.18W 1360|Sucre 19.03S 65.26W 224
BA Bosnia and Herzegovina; Sarajevo 43.85 18.36 700|Mostar 43.34 17.81 105
BW Botswana; Gaborone 24.65S 25.91 208
BR Brazil,Brasil; São Paulo 23.55S 46.64W 10000|Rio de Janeiro 22.91S 43.18W 6000|Brasília 15.78S 47.93W 2200|Salvador 12.97S 38.51W 2700|Recife 8.05S 34.88W 1480|Manaus 3.10S 60.02W 1600|Porto Alegre 30.03S 51.23W 1370|Belém 1.46S 48.50W 1400
BG Bulgaria,България; Sofia 42.70 23.32 1150=София|Plovdiv 42.15 24.75 340|Varna 43.21 27.91 312
KH Cambodia; Phnom Penh 11.56 104.92 1570=ភ្នំពេញ|Siem Reap 13.36 103.86 139
CM Cameroon; Yaoundé 3.87 11.52 1300|Douala 4.05 9.70 1300
CA Canada; Toronto 43.70 79.42W 2600|Montreal 45.51 73.59W 1600|Vancouver 49.25 123.12W 600|Ottawa 45.41 75.70W 812|Calgary 51.05 114.09W 1020|Winnipeg 49.88 97.15W 632|Halifax 44.65 63.57W 359|Yellowknife 62.46 114.35W 15|London 42.98 81.23W 346
TD Chad; N'Djamena 12.11 15.04 721
CL Chile; Santiago 33.46S 70.65W 4800|Valparaíso 33.04S 71.63W 282|Antofagasta 23.65S 70.40W 309|Punta Arenas 53.15S 70.91W 117
CN China,中国,Chine; Shanghai 31.22 121.46 22300=上海|Beijing 39.91 116.40 18900=北京,Pekin,Peking|Guangzhou 23.12 113.25 11000=广州|Shenzhen 22.55 114.07 10300=深圳|Chongqing 29.56 106.55 7400=重庆|Xi'an 34.26 108.93 6500=西安|Wuhan 30.58 114.27 9800=武汉|Harbin 45.75 126.65 5900=哈尔滨|Lhasa 29.65 91.10 118|Ürümqi 43.80 87.60 3000
CO Colombia; Bogotá 4.61 74.08W 7600|Medellín 6.25 75.56W 2000|Cali 3.44 76.52W 2400|Cartagena 10.40 75.51W 952
CD DR Congo,Democratic Republic of the Congo; Kinshasa 4.33S 15.31 7800|Lubumbashi 11.66S 27.48 1370|Goma 1.68S 29.22 144
CR Costa Rica; San José 9.93 84.08W 335
CI Ivory Coast,Côte d'Ivoire; Abidjan 5.35 4.00W 3600
HR Croatia,Hrvatska; Zagreb 45.81 15.98 700|Split 43.51 16.44 176
CU Cuba; Havana 23.13 82.38W 2160=La Habana
CY Cyprus; Nicosia 35.17 33.36 200
CZ Czechia,Czech Republic,Česko; Prague 50.09 14.42 1160=Praha,Prag|Brno 49.20 16.61 370
DK Denmark,Danmark; Copenhagen 55.68 12.57 1150=København|Aarhus 56.16 10.21 237
DO Dominican Republic; Santo Domingo 18.47 69.89W 2200
EC Ecuador; Quito 0.23S 78.52W 1400|Guayaquil 2.20S 79.89W 1950
EG Egypt,مصر,Ägypten; Cairo 30.06 31.25 7700=القاهرة,Le Caire,Kairo|Alexandria 31.20 29.92 3800=الإسكندرية|Aswan 24.09 32.91 241
EE Estonia,Eesti; Tallinn 59.44 24.75 394|Tartu 58.38 26.72 101
ET Ethiopia,ኢትዮጵያ; Addis Ababa 9.02 38.75 2760=አዲስ አበባ
FJ Fiji; Suva 18.14S 178.44 77|Nadi 17.80S 177.42 42
FI Finland,Suomi; Helsinki 60.17 24.94 558=Helsingfors|Tampere 61.50 23.79 202|Oulu 65.01 25.47 128
FR France,Frankreich,Francia; Paris 48.85 2.35 2140=Париж,باريس,巴黎,Parigi|Marseille 43.30 5.38 794|Lyon 45.75 4.85 472|Toulouse 43.60 1.44 433|Nice 43.70 7.27 338|Bordeaux 44.84 0.58W 231|Lille 50.63 3.06 228|Strasbourg 48.58 7.75 274|Brest 48.39 4.49W 144
GE Georgia,საქართველო; Tbilisi 41.69 44.83 1050=თბილისი|Batumi 41.64 41.64 121
DE Germany,Deutschland,Allemagne,Alemania; Berlin 52.52 13.41 3400|Hamburg 53.58 10.02 1740|Munich 48.14 11.58 1260=München|Cologne 50.93 6.95 963=Köln|Frankfurt 50.12 8.68 650|Leipzig 51.34 12.37 504|Stuttgart 48.78 9.18 590|Dresden 51.05 13.74 486
GH Ghana; Accra 5.56 0.20W 1960|Kumasi 6.69 1.62W 1470
GR Greece,Ελλάδα,Griechenland; Athens 37.98 23.73 664=Αθήνα|Thessaloniki 40.64 22.93 354=Θεσσαλονίκη
GT Guatemala; Guatemala City 14.64 90.51W 994
HT Haiti; Port-au-Prince 18.54 72.34W 1230
HN Honduras; Tegucigalpa 14.08 87.21W 850
HU Hungary,Magyarország; Budapest 47.50 19.04 1740|Debrecen 47.53 21.62 204
IS Iceland,Ísland; Reykjavík 64.14 21.90W 118|Akureyri 65.68 18.09W 17
IN India,भारत,Indien; Mumbai 19.07 72.88 12700=मुंबई,Bombay|Delhi 28.65 77.23 11000=दिल्ली|Bengaluru 12.97 77.59 5100=Bangalore,ಬೆಂಗಳೂರು|Kolkata 22.56 88.36 4600=কলকাতা,Calcutta|Chennai 13.09 80.28 4300=சென்னை,Madras|Hyderabad 17.38 78.46 3600=హైదరాబాద్|Ahmedabad 23.03 72.59 3700|Jaipur 26.92 75.79 2700|Kochi 9.94 76.26 604|Leh 34.16 77.58 28
ID Indonesia; Jakarta 6.21S 106.85 8500|Surabaya 7.25S 112.75 2400|Medan 3.58 98.67 1750|Denpasar 8.65S 115.22 405|Jayapura 2.53S 140.72 134
IR Iran,ایران; Tehran 35.69 51.42 7150=تهران|Mashhad 36.30 59.61 2300|Isfahan 32.65 51.67 1550|Shiraz 29.61 52.53 1250
IQ Iraq,العراق; Baghdad 33.34 44.40 5670=بغداد|Basra 30.51 47.78 2600|Mosul 36.34 43.12 1740
IE Ireland,Éire; Dublin 53.33 6.25W 1020=Baile Átha Cliath|Cork 51.90 8.47W 190|Galway 53.27 9.05W 70
IL Israel,ישראל; Jerusalem 31.77 35.22 801=ירושלים|Tel Aviv 32.08 34.78 433=תל אביב|Haifa 32.82 34.99 268
IT Italy,Italia,Italien,Italie; Rome 41.89 12.48 2320=Roma|Milan 45.46 9.19 1240=Milano|Naples 40.85 14.27 959=Napoli|Turin 45.07 7.69 870=Torino|Palermo 38.13 13.34 648|Venice 45.44 12.33 51=Venezia|Florence 43.78 11.25 349=Firenze|Cagliari 39.23 9.12 149
JM Jamaica; Kingston 18.00 76.79W 938
JP Japan,日本,Japon; Tokyo 35.69 139.69 8300=東京|Osaka 34.69 135.50 2590=大阪|Sapporo 43.06 141.35 1880=札幌|Fukuoka 33.60 130.42 1390=福岡|Kyoto 35.02 135.75 1460=京都|Hiroshima 34.40 132.45 1140=広島|Naha 26.21 127.68 300=那覇
JO Jordan,الأردن; Amman 31.96 35.95 1280=عمان
KZ Kazakhstan; Almaty 43.25 76.92 2000=Алматы|Astana 51.18 71.45 1000
KE Kenya; Nairobi 1.28S 36.82 2750|Mombasa 4.05S 39.67 800
KW Kuwait,الكويت; Kuwait City 29.37 47.98 60
KG Kyrgyzstan; Bishkek 42.87 74.59 900
LA Laos; Vientiane 17.97 102.60 197=ວຽງຈັນ
LV Latvia,Latvija; Riga 56.95 24.11 742=Rīga
LB Lebanon,لبنان; Beirut 33.89 35.50 1920=بيروت
LY Libya,ليبيا; Tripoli 32.89 13.19 1150=طرابلس|Benghazi 32.11 20.07 650
LT Lithuania,Lietuva; Vilnius 54.69 25.28 542|Kaunas 54.90 23.91 374
LU Luxembourg; Luxembourg 49.61 6.13 77
MG Madagascar; Antananarivo 18.91S 47.54 1390
MY Malaysia; Kuala Lumpur 3.14 101.69 1450|Kuching 1.55 110.33 570|Kota Kinabalu 5.97 116.07 457
ML Mali; Bamako 12.65 8.00W 1300|Timbuktu 16.77 3.01W 32=Tombouctou
MR Mauritania; Nouakchott 18.09 15.98W 662
MX Mexico,México; Mexico City 19.43 99.13W 12300=Ciudad de México|Guadalajara 20.67 103.39W 1500|Monterrey 25.68 100.32W 1120|Tijuana 32.50 117.00W 1370|Mérida 20.98 89.62W 777|Puebla 19.05 98.20W 1390
MD Moldova; Chișinău 47.01 28.86 635
MN Mongolia; Ulaanbaatar 47.91 106.88 845=Улаанбаатар
ME Montenegro; Podgorica 42.44 19.26 136
MA Morocco,Maroc,المغرب; Casablanca 33.59 7.62W 3140=الدار البيضاء|Rabat 34.01 6.83W 1650|Marrakesh 31.63 8.00W 839=مراكش|Fes 34.03 5.00W 964
MZ Mozambique; Maputo 25.97S 32.58 1190|Beira 19.84S 34.84 530
MM Myanmar,Burma; Yangon 16.81 96.16 4480=ရန်ကုန်|Mandalay 21.97 96.08 1200
NA Namibia; Windhoek 22.56S 17.08 268
NP Nepal,नेपाल; Kathmandu 27.70 85.32 1440=काठमाडौं|Pokhara 28.27 83.97 200
NL Netherlands,Nederland,Holland; Amsterdam 52.37 4.89 741|Rotterdam 51.92 4.48 598|The Hague 52.08 4.30 474=Den Haag|Groningen 53.22 6.57 181
NZ New Zealand; Auckland 36.85S 174.76 417|Wellington 41.29S 174.78 382|Christchurch 43.53S 172.63 364|Dunedin 45.87S 170.50 114
NI Nicaragua; Managua 12.13 86.25W 973
NE Niger; Niamey 13.51 2.11 775
NG Nigeria; Lagos 6.45 3.39 15400|Abuja 9.06 7.49 590|Kano 12.00 8.52 3600|Ibadan 7.38 3.91 3570
KP North Korea; Pyongyang 39.03 125.75 3200=평양
MK North Macedonia,Macedonia; Skopje 42.00 21.43 474=Скопје
NO Norway,Norge; Oslo 59.91 10.75 580|Bergen 60.39 5.33 214|Trondheim 63.43 10.40 148|Tromsø 69.65 18.96 53
OM Oman,عمان; Muscat 23.58 58.41 797=مسقط
PK Pakistan,پاکستان; Karachi 24.86 67.01 11600=کراچی|Lahore 31.56 74.35 6300=لاہور|Islamabad 33.72 73.04 602|Peshawar 34.01 71.58 1220|Hyderabad 25.40 68.37 1390
PA Panama; Panama City 8.99 79.52W 408
PG Papua New Guinea; Port Moresby 9.48S 147.15 283
PY Paraguay; Asunción 25.29S 57.65W 1480
PE Peru,Perú; Lima 12.04S 77.03W 7700|Arequipa 16.40S 71.54W 841|Cusco 13.53S 71.97W 312|Iquitos 3.75S 73.25W 437
PH Philippines; Manila 14.60 120.98 1600|Cebu 10.32 123.89 800|Davao 7.07 125.61 1210
PL Poland,Polska,Polen,Pologne; Warsaw 52.23 21.01 1700=Warszawa,Warschau|Kraków 50.06 19.94 755=Cracow|Gdańsk 54.35 18.65 461=Danzig|Wrocław 51.10 17.03 634|Poznań 52.41 16.93 570
PT Portugal; Lisbon 38.72 9.13W 517=Lisboa|Porto 41.15 8.61W 249|Funchal 32.67 16.92W 100
QA Qatar,قطر; Doha 25.29 51.53 344=الدوحة
RO Romania,România; Bucharest 44.43 26.11 1880=București|Cluj-Napoca 46.77 23.60 316
RU Russia,Россия,Russland,Russie; Moscow 55.75 37.62 10400=Москва,Moskau|Saint Petersburg 59.94 30.31 5000=Санкт-Петербург|Novosibirsk 55.04 82.93 1420=Новосибирск|Yekaterinburg 56.86 60.61 1290=Екатеринбург|Vladivostok 43.11 131.87 587=Владивосток|Kazan 55.79 49.12 1100=Казань|Murmansk 68.98 33.09 319=Мурманск|Yakutsk 62.03 129.73 236=Якутск|Irkutsk 52.30 104.30 587=Иркутск
RW Rwanda; Kigali 1.95S 30.06 745
SA Saudi Arabia,السعودية; Riyadh 24.69 46.72 4200=الرياض|Jeddah 21.49 39.19 2870=جدة|Mecca 21.43 39.83 1320=مكة
SN Senegal; Dakar 14.69 17.44W 2480
RS Serbia,Србија; Belgrade 44.80 20.47 1270=Београд,Beograd|Novi Sad 45.25 19.84 215
SG Singapore,新加坡; Singapore 1.29 103.85 5600
SK Slovakia,Slovensko; Bratislava 48.15 17.11 424|Košice 48.71 21.26 236
SI Slovenia,Slovenija; Ljubljana 46.05 14.51 255
SO Somalia; Mogadishu 2.04 45.34 2590
ZA South Africa; Cape Town 33.93S 18.42 3430|Johannesburg 26.20S 28.04 2000|Durban 29.86S 31.03 3120|Pretoria 25.74S 28.19 1620|Bloemfontein 29.12S 26.21 460
KR South Korea,대한민국,한국; Seoul 37.57 126.98 10300=서울|Busan 35.10 129.03 3670=부산|Daegu 35.87 128.59 2560|Jeju 33.51 126.52 408
ES Spain,España,Spanien,Espagne; Madrid 40.42 3.70W 3250|Barcelona 41.39 2.16 1620|Valencia 39.47 0.38W 814|Seville 37.38 5.97W 703=Sevilla|Bilbao 43.26 2.93W 354|Zaragoza 41.66 0.88W 674|Las Palmas 28.10 15.41W 381|Córdoba 37.89 4.77W 328
LK Sri Lanka; Colombo 6.94 79.85 648
SD Sudan,السودان; Khartoum 15.55 32.53 1970=الخرطوم
SE Sweden,Sverige; Stockholm 59.33 18.07 1520|Gothenburg 57.71 11.97 572=Göteborg|Malmö 55.61 13.00 302|Kiruna 67.86 20.23 18
CH Switzerland,Schweiz,Suisse,Svizzera; Zürich 47.37 8.55 341|Geneva 46.20 6.15 183=Genève,Genf|Basel 47.56 7.57 164|Bern 46.95 7.45 121
SY Syria,سوريا; Damascus 33.51 36.29 1570=دمشق|Aleppo 36.20 37.16 1600=حلب
TW Taiwan,臺灣; Taipei 25.05 121.53 7870=臺北|Kaohsiung 22.62 120.31 1520=高雄
TJ Tajikistan; Dushanbe 38.54 68.78 680
TZ Tanzania; Dar es Salaam 6.82S 39.27 2700|Arusha 3.37S 36.68 341|Dodoma 6.17S 35.74 180
TH Thailand,ประเทศไทย; Bangkok 13.75 100.50 5100=กรุงเทพ|Chiang Mai 18.79 98.98 200=เชียงใหม่|Phuket 7.89 98.40 89
TN Tunisia,Tunisie,تونس; Tunis 36.82 10.17 693
TR Turkey,Türkiye; Istanbul 41.01 28.95 14800=İstanbul|Ankara 39.92 32.85 3520|Izmir 38.41 27.14 2500=İzmir|Antalya 36.91 30.70 758|Trabzon 41.00 39.73 244
TM Turkmenistan; Ashgabat 37.95 58.38 728
UG Uganda; Kampala 0.32 32.58 1350
UA Ukraine,Україна; Kyiv 50.45 30.52 2800=Київ,Kiev|Lviv 49.84 24.02 717=Львів|Odesa 46.48 30.73 1000=Одеса|Kharkiv 49.98 36.25 1430=Харків
AE United Arab Emirates; Dubai 25.07 55.17 2960=دبي|Abu Dhabi 24.45 54.40 603
GB United Kingdom,UK,Great Britain,England,Scotland,Wales; London 51.51 0.13W 8960=Londres,Londra,Лондон,ロンドン|Manchester 53.48 2.24W 395|Birmingham 52.48 1.90W 984|Glasgow 55.87 4.26W 591|Edinburgh 55.95 3.20W 464|Cardiff 51.48 3.18W 447|Belfast 54.60 5.93W 274|Liverpool 53.41 2.98W 864|Inverness 57.48 4.22W 46|Plymouth 50.37 4.14W 260
US United States,USA,United States of America; New York City 40.71 74.01W 8800=New York,Nueva York|Los Angeles 34.05 118.24W 3970|Chicago 41.85 87.65W 2720|Houston 29.76 95.36W 2300|Philadelphia 39.95 75.16W 1570|Phoenix 33.45 112.07W 1560|San Francisco 37.77 122.42W 865|Seattle 47.61 122.33W 684|Denver 39.74 104.98W 683|Miami 25.77 80.19W 441|Boston 42.36 71.06W 667|Atlanta 33.75 84.39W 464|New Orleans 29.95 90.08W 390|Anchorage 61.22 149.90W 299|Honolulu 21.31 157.86W 371|Minneapolis 44.98 93.26W 411|Salt Lake City 40.76 111.89W 200|Washington 38.90 77.04W 602=Washington D.C.|Paris 33.66 95.56W 25|Springfield 39.80 89.64W 116|Portland 45.52 122.68W 650|Birmingham 33.52 86.80W 212|Plymouth 41.96 70.67W 61|Athens 33.96 83.38W 120
UY Uruguay; Montevideo 34.90S 56.19W 1270
UZ Uzbekistan; Tashkent 41.26 69.22 1980|Samarkand 39.65 66.96 319
VE Venezuela; Caracas 10.49 66.88W 3000|Maracaibo 10.67 71.61W 2230|Mérida 8.59 71.14W 300
VN Vietnam,Việt Nam; Hanoi 21.02 105.84 8050=Hà Nội|Ho Chi Minh City 10.82 106.63 8990=Saigon|Da Nang 16.07 108.22 988
YE Yemen,اليمن; Sana'a 15.35 44.21 1940=صنعاء|Aden 12.78 45.04 551=عدن
ZM Zambia; Lusaka 15.41S 28.29 1270
ZW Zimbabwe; Harare 17.83S 31.05 1540
"""


def _rows():
    for line in _TABLE.strip().splitlines():
        head, cities = line.split("; ", 1)
        code, names = head[:2], head[3:].split(",")
        yield code, names, [_city(city) for city in cities.split("|")]


def _city(text: str):
    main, _, others = text.partition("=")
    name, lat, lon, thousands = main.rsplit(" ", 3)
    return name, _degrees(lat), _degrees(lon), int(thousands) * 1000, others.replace(",", "|")


def _degrees(text: str) -> float:
    return -float(text[:-1]) if text[-1] in "SW" else float(text)


def places():
    """(id, name, lat, lon, country, division, population, alternate names), largest first."""
    found = [(*city, code) for code, _, cities in _rows() for city in cities]
    found.sort(key=lambda city: -city[3])
    return [
        (n + 1, name, lat, lon, code, "", population, others)
        for n, (name, lat, lon, population, others, code) in enumerate(found)
    ]


def countries():
    """(code, lat, lon, names); a country lies where its first city does."""
    return [(code, cities[0][1], cities[0][2], names) for code, names, cities in _rows()]
