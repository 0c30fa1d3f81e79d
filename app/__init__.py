"""EnD-CXR's Streamlit app: `streamlit run app/main.py`.

    main.py      the router: page settings, choice of runs, navigation
    views/       one file a page
    services/    what is kept between two clicks (the only st.cache_*): chosen runs, models, films, audits, batches
    drawing/     arguments in, chart or page elements out
    reading/     visitors' films: decoded, scored, explained
    jobs/        what runs in the background: batches, audits
    numbers/     tables and numbers, without streamlit

Research use only; not a medical device.
"""
