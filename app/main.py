"""Compare checkpoints on the same film and see their bias: `streamlit run app/main.py [-- RUNS_DIR]`.

The router: what is on every page (notice, choice of runs), and the pages. Nothing here imports torch, so that the first page
is there at once.
"""

if __name__ == "__main__":  # multiprocessing runs this file in each decoding process, which needs nothing from it
    import streamlit as st

    from app.services import runs

    st.set_page_config(page_title="EnD-CXR", page_icon=":material/radiology:", layout="wide")

    # In one list: headings between pages would stand in the list where a screen reader expects items alone.
    PAGES = [
        st.Page("views/compare.py", title="Compare on a film", icon=":material/compare:", default=True),
        st.Page("views/disagreements.py", title="Disagreements", icon=":material/call_split:"),
        st.Page("views/batch.py", title="Batch", icon=":material/folder_open:"),
        st.Page("views/bias.py", title="Bias", icon=":material/balance:"),
        st.Page("views/feature_space.py", title="Feature space", icon=":material/scatter_plot:"),
        st.Page("views/threshold.py", title="Threshold", icon=":material/tune:"),
        st.Page("views/runs.py", title="Runs", icon=":material/list:"),
    ]

    page = st.navigation(PAGES)
    runs.choose_runs()
    runs.notice()
    with runs.broken_runs_in_words():
        page.run()
