"""The Streamlit app: `streamlit run app/main.py`.

    main.py      the router: page settings, choice of runs, navigation
    services.py  what is kept between reruns (the only st.cache_*), and errors as sentences
    views/       one file a page
    drawing/     arguments in, chart or page elements out
    reading/     visitors' films: decoded, scored, explained
    jobs/        what runs in the background: batches, audits
    numbers/     tables and numbers, without streamlit

Research use only; not a medical device.
"""
